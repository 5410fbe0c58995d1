package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// exporterFrontend offers HAProxy's own Prometheus exporter on a socket that
// only this user may open.
const exporterFrontend = "vipilot:metrics"

const (
	exporterDeadline = 10 * time.Second
	maxExport        = 256 << 20
)

func (p Paths) exporter() string { return filepath.Join(p.Dir, "metrics.sock") }

// writeExporter writes the frontend of the exporter. What is counted of it is
// not worth a line, so it is left out of the statistics' log as well.
func writeExporter(w *strings.Builder, p Paths) {
	fmt.Fprintf(w, `
frontend %s from vipilot
  mode http
  no log
  bind unix@%s mode 600
  http-request use-service prometheus-exporter if { path /metrics }
  http-request deny deny_status 404
`, exporterFrontend, p.exporter())
}

// Export writes what HAProxy's own exporter says, in the Prometheus text
// format: of the process, the frontends and the backends. With servers it
// tells of each server too. HAProxy's dump of servers must not meet the
// deletion of one, so runtime updates wait for it: for small fleets, and
// seldom.
func (h *HAProxy) Export(ctx context.Context, w io.Writer, servers bool) error {
	query := "?scope=global&scope=frontend&scope=backend"
	if servers {
		query += "&scope=server"
		h.cli.mu.Lock()
		defer h.cli.mu.Unlock()
	}
	ctx, cancel := context.WithTimeout(ctx, exporterDeadline)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", h.paths.exporter())
	}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://haproxy/metrics"+query, nil)
	if err != nil {
		return fmt.Errorf("ask haproxy's exporter: %w", err)
	}
	answer, err := transport.RoundTrip(r)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		return errors.New("ask haproxy's exporter: HAProxy does not run, or was started by an older vipilot and offers it after its next reload")
	}
	if err != nil {
		return fmt.Errorf("ask haproxy's exporter: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("ask haproxy's exporter: it says %s", answer.Status)
	}
	if _, err := io.Copy(w, io.LimitReader(answer.Body, maxExport)); err != nil {
		return fmt.Errorf("read haproxy's exporter: %w", err)
	}
	return nil
}
