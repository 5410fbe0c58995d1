package acme

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// answer serves challenges on the socket, and on loopback, where certmagic
// looks for whoever does. They are found in the storages, whoever ordered.
func (c *Client) answer(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(c.opts.Socket), 0o750); err != nil {
		return err
	}
	if err := os.Remove(c.opts.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	socket, err := net.Listen("unix", c.opts.Socket)
	if err != nil {
		return err
	}
	if err := os.Chmod(c.opts.Socket, 0o666); err != nil { // for a HAProxy without rights; the directory keeps others out
		return errors.Join(err, socket.Close())
	}
	loopback, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, socket.Close())
	}
	c.port = loopback.Addr().(*net.TCPAddr).Port
	server := &http.Server{Handler: http.HandlerFunc(c.challenge), ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	for _, listener := range []net.Listener{socket, loopback} {
		go func() { _ = server.Serve(listener) }() // ends with Close, below
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return nil
}

// challenge answers one request of an authority.
func (c *Client) challenge(w http.ResponseWriter, r *http.Request) {
	for _, a := range c.all() {
		if a.issuer.HandleHTTPChallenge(w, r) {
			return
		}
	}
	http.Error(w, "no such challenge", http.StatusNotFound)
}

func (c *Client) all() []*authority {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]*authority, 0, len(c.authorities))
	for _, a := range c.authorities {
		list = append(list, a)
	}
	return list
}
