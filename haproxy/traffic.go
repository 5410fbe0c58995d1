package haproxy

import (
	"cmp"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Traffic are HAProxy's counters of a backend or of one of its servers, since
// its worker began: a reload starts them anew.
type Traffic struct {
	Sessions  uint64 // in all
	Current   uint64 // at this moment
	Queued    uint64 // requests that wait for a free server
	Rate      uint64 // new sessions in the last second
	BytesIn   uint64 // from clients
	BytesOut  uint64 // to clients
	Responses [5]uint64
	Connect   uint64 // connections to servers that failed
	Response  uint64 // answers of servers that were broken or cut
	Retries   uint64
	Redirects uint64        // of requests to another server after a failure
	Aborted   uint64        // answers that clients did not wait for
	Took      time.Duration // mean of the last 1,024 sessions, from the first byte to the last
}

// plus adds up; a mean is the worse of the two.
func (t Traffic) plus(o Traffic) Traffic {
	for i, n := range o.Responses {
		t.Responses[i] += n
	}
	t.Sessions += o.Sessions
	t.Current += o.Current
	t.Queued += o.Queued
	t.Rate += o.Rate
	t.BytesIn += o.BytesIn
	t.BytesOut += o.BytesOut
	t.Connect += o.Connect
	t.Response += o.Response
	t.Retries += o.Retries
	t.Redirects += o.Redirects
	t.Aborted += o.Aborted
	t.Took = max(t.Took, o.Took)
	return t
}

// Traffic asks HAProxy for the counters of a backend as a whole and of each of
// its servers, by name; those of a split service are added up. It costs a dump
// of the backend: not for the hot path.
func (h *HAProxy) Traffic(ctx context.Context, backend string) (whole Traffic, servers map[string]Traffic, err error) {
	if !nameForm.MatchString(backend) {
		return whole, nil, fmt.Errorf("ask haproxy for its counters: %.60q is no backend's name", backend)
	}
	servers = make(map[string]Traffic)
	for _, name := range h.backendsOf(backend) {
		text, err := h.cli.ask(ctx, "show stat "+name+" 6 -1") // backends and servers
		if err != nil {
			return whole, nil, err
		}
		rows, err := parseTraffic(text, name)
		if err != nil {
			return whole, nil, err
		}
		for server, t := range rows {
			if server == "BACKEND" {
				whole = whole.plus(t)
				continue
			}
			servers[server] = t
		}
	}
	return whole, servers, nil
}

// parseTraffic reads the CSV of "show stat", by svname. A number that is not
// there is 0: a TCP backend has no responses.
func parseTraffic(text, backend string) (map[string]Traffic, error) {
	if !strings.HasPrefix(text, "# ") {
		return nil, fmt.Errorf("read haproxy's statistics: %s", firstLine(text))
	}
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "# "))).ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, fmt.Errorf("read haproxy's statistics: %w", cmp.Or(err, io.ErrUnexpectedEOF))
	}
	column := make(map[string]int)
	for i, name := range rows[0] {
		column[name] = i
	}
	for _, name := range []string{"pxname", "svname"} {
		if _, ok := column[name]; !ok {
			return nil, fmt.Errorf("read haproxy's statistics: column %s is missing", name)
		}
	}
	all := make(map[string]Traffic)
	for _, row := range rows[1:] {
		var bad error
		number := func(name string) uint64 {
			i, known := column[name]
			if !known || row[i] == "" {
				return 0
			}
			n, err := strconv.ParseUint(row[i], 10, 63)
			if err != nil {
				bad = fmt.Errorf("read haproxy's statistics: %s is %.40q", name, row[i])
			}
			return n
		}
		if row[column["pxname"]] != backend {
			continue
		}
		all[row[column["svname"]]] = Traffic{
			Sessions: number("stot"), Current: number("scur"), Queued: number("qcur"), Rate: number("rate"),
			BytesIn: number("bin"), BytesOut: number("bout"),
			Responses: [5]uint64{number("hrsp_1xx"), number("hrsp_2xx"), number("hrsp_3xx"), number("hrsp_4xx"), number("hrsp_5xx")},
			Connect:   number("econ"), Response: number("eresp"), Retries: number("wretr"), Redirects: number("wredis"),
			Aborted: number("cli_abrt"), Took: time.Duration(number("ttime")) * time.Millisecond,
		}
		if bad != nil {
			return nil, bad
		}
	}
	return all, nil
}
