package importer

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// AskDocker reads the running containers of an engine at unix:///path or
// tcp://host:port, with GET alone; secure is nil where there is no TLS.
func AskDocker(ctx context.Context, engine string, secure *tls.Config) ([]Container, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	base, client, err := engineClient(engine, secure)
	if err != nil {
		return nil, fmt.Errorf("ask engine %s: %w", engine, err)
	}
	defer client.CloseIdleConnections()
	var list []struct {
		ID string `json:"Id"`
	}
	if err := get(ctx, client, base+"/containers/json", func(r io.Reader) error { return json.NewDecoder(r).Decode(&list) }); err != nil {
		return nil, fmt.Errorf("ask engine %s: %w", engine, err)
	}
	var containers []Container
	for _, c := range list {
		err := get(ctx, client, base+"/containers/"+url.PathEscape(c.ID)+"/json", func(r io.Reader) error {
			one, err := ReadInspect(r)
			containers = append(containers, one...)
			return err
		})
		if err != nil && !errors.Is(err, errGone) {
			return nil, fmt.Errorf("ask engine %s: %w", engine, err)
		}
	}
	return containers, nil
}

func engineClient(engine string, secure *tls.Config) (base string, client *http.Client, err error) {
	u, err := url.Parse(engine)
	if err != nil {
		return "", nil, err
	}
	transport := &http.Transport{TLSClientConfig: secure}
	switch {
	case u.Scheme == "unix" && u.Path != "":
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", u.Path)
		}
		return "http://docker", &http.Client{Transport: transport}, nil
	case u.Scheme == "tcp" && u.Port() != "" && secure != nil:
		return "https://" + u.Host, &http.Client{Transport: transport}, nil
	case u.Scheme == "tcp" && u.Port() != "":
		return "http://" + u.Host, &http.Client{Transport: transport}, nil
	}
	return "", nil, errors.New("an import asks unix:///path or tcp://host:port; over ssh, run docker inspect there and use --inspect")
}

var errGone = errors.New("no such container")

func get(ctx context.Context, client *http.Client, address string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body := io.LimitReader(resp.Body, 64<<20)
	if resp.StatusCode == http.StatusNotFound {
		return errGone
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(body, 500))
		return fmt.Errorf("%s: %s", resp.Status, printable(strings.TrimSpace(string(text))))
	}
	return read(body)
}
