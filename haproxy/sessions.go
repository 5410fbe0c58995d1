package haproxy

import (
	"cmp"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Sessions asks HAProxy how many sessions each server of a backend carries, by
// name; servers that left are among them until they are deleted. Sessions that
// reloads left on old workers count as well.
func (h *HAProxy) Sessions(ctx context.Context, backend string) (map[string]int, error) {
	if !nameForm.MatchString(backend) {
		return nil, fmt.Errorf("ask haproxy for sessions: %.60q is no backend's name", backend)
	}
	all := make(map[string]int)
	for _, name := range h.backendsOf(backend) {
		text, err := h.cli.ask(ctx, "show stat "+name+" 4 -1")
		if err != nil {
			return nil, err
		}
		sessions, err := parseSessions(text, name)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, sessions)
	}
	return all, h.addOldSessions(ctx, backend, all)
}

// addOldSessions adds what old workers carry. One that ends while it is asked
// carries nothing any more.
func (h *HAProxy) addOldSessions(ctx context.Context, backend string, all map[string]int) error {
	if h.Status().OldWorkers == 0 {
		return nil
	}
	h.mu.Lock() // no reload meanwhile: the master does not listen in the midst of one
	defer h.mu.Unlock()
	if !h.alive() {
		return nil
	}
	processes, err := h.showProc(ctx)
	if err != nil {
		return fmt.Errorf("ask haproxy for its old workers: %w", err)
	}
	for _, pid := range processes.old {
		for _, name := range h.backendsOf(backend) {
			text, err := exchange(ctx, h.paths.master(), fmt.Sprintf("@!%d show stat %s 4 -1;quit", pid, name))
			if err != nil || !strings.HasPrefix(text, "# ") {
				continue // it has ended, or never had the backend
			}
			sessions, err := parseSessions(strings.TrimSpace(text)+"\n", name)
			if err != nil {
				return err
			}
			for server, n := range sessions {
				all[server] += n
			}
		}
	}
	return nil
}

// parseSessions reads the CSV of "show stat".
func parseSessions(text, backend string) (map[string]int, error) {
	if !strings.HasPrefix(text, "# ") {
		return nil, fmt.Errorf("read haproxy's statistics: %s", firstLine(text))
	}
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "# "))).ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, fmt.Errorf("read haproxy's statistics: %w", cmp.Or(err, io.ErrUnexpectedEOF))
	}
	proxy, server, current := slices.Index(rows[0], "pxname"), slices.Index(rows[0], "svname"), slices.Index(rows[0], "scur")
	if proxy < 0 || server < 0 || current < 0 {
		return nil, fmt.Errorf("read haproxy's statistics: a column is missing")
	}
	sessions := make(map[string]int)
	for _, row := range rows[1:] {
		if row[proxy] != backend {
			continue
		}
		n, err := strconv.Atoi(row[current])
		if err != nil {
			return nil, fmt.Errorf("read haproxy's statistics: %s has %.40q sessions", row[server], row[current])
		}
		sessions[row[server]] = n
	}
	return sessions, nil
}
