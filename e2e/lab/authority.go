package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Authority is an ACME certificate authority on the client's side of the router.
type Authority struct {
	Directory string // URL
	Storage   string // directory that the nodes share
	CAFile    string // who vouches for its server; a file outside the repository

	daemon *Daemon
}

// StartAuthority starts Pebble. It takes every name for the site's address, and
// asks there, over the router, as an authority on the internet does.
func (l *Lab) StartAuthority(ctx context.Context, site string) (*Authority, error) {
	binary := filepath.Join(l.Dir, "authority")
	if err := build(ctx, Source(), "./e2e/authority", binary); err != nil {
		return nil, err
	}
	a := &Authority{Directory: "https://" + ClientAddress + ":14000/dir", CAFile: filepath.Join(l.Dir, "authority.pem"), Storage: filepath.Join(l.Dir, "acme")}
	if err := os.RemoveAll(a.Storage); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(a.Storage, 0o700); err != nil {
		return nil, err
	}
	d, err := l.Client.daemon([]string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0"}, binary, "-address", ClientAddress, "-site", site, "-cert", a.CAFile)
	if err != nil {
		return nil, fmt.Errorf("start the authority: %w", err)
	}
	a.daemon = d
	err = Poll(ctx, Patience, func(ctx context.Context) error {
		conn, err := l.Client.Dial(ctx, "tcp", net.JoinHostPort(ClientAddress, "14000"))
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("start the authority: %w\n%s", err, d.tail(20))
	}
	return a, nil
}

// Stop ends the authority.
func (a *Authority) Stop() error { return a.daemon.Stop(30 * time.Second) }
