package haproxy

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/vipilot/vipilot/internal/span"
)

// deletion is a server that left and sits in maint until it may be deleted.
type deletion struct {
	cut   time.Time // when its last sessions are ended; zero = done, or never
	due   time.Time // when it may be deleted
	tries int
}

// next is when something has to be done for the server.
func (d *deletion) next() time.Time {
	if !d.cut.IsZero() && d.cut.Before(d.due) {
		return d.cut
	}
	return d.due
}

// update goes from applied to want, which differ in nothing structural, over
// the runtime socket, and has the files follow. Where a command failed earlier,
// HAProxy is asked what it has before it is told what to do.
func (h *HAProxy) update(ctx context.Context, want Config) (changed bool, err error) {
	p := plan{h: h}
	if !sameFrontends(h.applied, want) || len(h.unsure) > 0 {
		for o, n := range pairs(h.applied.Frontends, want.Frontends, frontendName) {
			if err := p.frontend(ctx, o, n); err != nil {
				return false, err
			}
		}
	}
	for o, n := range pairs(h.applied.Backends, want.Backends, backendName) {
		if *o == *n && (len(h.unsure) == 0 || !h.unsure[(*n).Name]) {
			continue
		}
		if err := p.backend(ctx, *o, *n); err != nil {
			return false, err
		}
	}
	return h.carryOut(ctx, want, p)
}

// plan collects what an update has to do.
type plan struct {
	h        *HAProxy
	requests []request
	certs    []certChange
	gone     []ServerKey // left, to be deleted later
	present  []ServerKey // wanted again or newly
	verdicts map[ServerKey]Health
}

func (p *plan) frontend(ctx context.Context, o, n *Frontend) error {
	p.certificates(o, n)
	same := slices.Equal(o.Routes, n.Routes) && slices.Equal(o.Redirects, n.Redirects) && reflect.DeepEqual(o.Splits, n.Splits)
	if same && len(p.h.unsure) == 0 {
		return nil
	}
	old := o.maps()
	for i, m := range n.maps() { // of the same names: their number is structure
		have := old[i].entries
		switch unsure := p.h.unsure[m.name]; {
		case unsure:
			var err error
			if have, err = p.h.showMap(ctx, m.name); err != nil {
				return err
			}
		case same:
			continue
		}
		p.requests = append(p.requests, mapRequests(m, have)...)
	}
	return nil
}

func (p *plan) backend(ctx context.Context, o, n *Backend) error {
	have := o.Servers
	if p.h.unsure[n.Name] {
		_, list, err := p.h.showServers(ctx, n.Name)
		if err != nil {
			return err
		}
		have = servers(list)[n.Name]
	}
	before := len(p.requests)
	p.servers(n, have)
	p.backendTLS(o, n, len(p.requests) > before)
	return nil
}

func (p *plan) servers(b *Backend, have []Server) {
	leaving := func(name string) bool { return p.h.leaving[ServerKey{b.Name, name}] != nil }
	requests, gone := serverRequests(b, have, leaving, p.h.paths)
	p.requests = append(p.requests, requests...)
	for _, name := range gone {
		p.gone = append(p.gone, ServerKey{b.Name, name})
	}
	for o, n := range pairs(have, b.Servers, serverName) {
		if n == nil || (o != nil && o.State == n.State) {
			continue
		}
		key := ServerKey{b.Name, n.Name}
		p.present = append(p.present, key)
		if n.State == Ready && (o == nil || o.State == Maint) { // HAProxy takes it for up until a check fails
			if p.verdicts == nil {
				p.verdicts = make(map[ServerKey]Health)
			}
			p.verdicts[key] = Up
		}
	}
}

// carryOut executes a plan; afterwards want is applied, except in what is then
// marked unsure.
func (h *HAProxy) carryOut(ctx context.Context, want Config, p plan) (changed bool, err error) {
	changed = len(p.requests)+len(p.certs) > 0
	if changed {
		var end span.End
		ctx, end = span.Start(ctx, "haproxy update")
		defer func() { end(err, attribute.Int("vipilot.commands", len(p.requests)+len(p.certs))) }()
	}
	for _, c := range p.certs {
		if err := h.cli.changeCertificate(ctx, c); err != nil {
			h.certsUnsure = true // the rest of them is as it was, and the next try is a reload
			return false, err
		}
	}
	failed, err := h.cli.do(ctx, p.requests)
	clear(h.unsure)
	for _, r := range failed {
		h.unsure[r.owner] = true
	}
	for _, key := range p.present {
		delete(h.leaving, key)
	}
	for _, key := range p.gone {
		if h.leaving[key] == nil {
			h.leaving[key] = h.farewell(key.Backend)
		}
	}
	if len(p.gone) > 0 {
		signal(h.wake)
	}
	h.applied = want
	h.setHealth(p.verdicts, p.gone)
	if changed {
		h.save(want)
	}
	if err != nil {
		return changed, fmt.Errorf("update haproxy at run time: %w", err)
	}
	return changed, nil
}

// farewell is what is planned for a server that leaves the backend now: its
// sessions may last for the drain time, and only then is it deleted.
func (h *HAProxy) farewell(backend string) *deletion {
	now := time.Now()
	d := &deletion{due: now.Add(h.deleteDelay(backend))}
	if b := h.backend(backend); b != nil && b.Drain > 0 {
		d.cut = now.Add(b.Drain)
		if after := d.cut.Add(time.Second); after.After(d.due) {
			d.due = after
		}
	}
	return d
}

// backend is what is applied of the backend, nil when there is none.
func (h *HAProxy) backend(name string) *Backend {
	i, ok := slices.BinarySearchFunc(h.applied.Backends, name, func(b *Backend, name string) int { return strings.Compare(b.Name, name) })
	if !ok {
		return nil
	}
	return h.applied.Backends[i]
}

// deleteDelay is how long a server of the backend stays in maint: HAProxy 2.6
// may crash when a request that is being retried meets a deleted server.
func (h *HAProxy) deleteDelay(backend string) time.Duration {
	retries, connect := defaultRetries, defaultConnect
	if b := h.backend(backend); b != nil {
		if b.Retries != nil {
			retries = *b.Retries
		}
		if b.Connect > 0 {
			connect = b.Connect
		}
	}
	return max(h.opts.DeleteDelay, time.Duration(retries+1)*(connect+time.Second))
}

// reconcile compares everything HAProxy has with want, which its structure
// already equals, and corrects it. It returns the difference that needs a
// reload, "" after it did its work.
func (h *HAProxy) reconcile(ctx context.Context, want Config) (cause string, changed bool, err error) {
	_, list, err := h.showServers(ctx, "")
	if err != nil {
		return "", false, err
	}
	have := servers(list)
	p := plan{h: h, verdicts: make(map[ServerKey]Health)}
	for _, o := range list {
		p.verdicts[o.ServerKey] = o.health
	}
	for _, b := range want.Backends {
		for o, n := range pairs(have[b.Name], b.Servers, serverName) {
			if n != nil && ((o == nil && n.isFixed()) || (o != nil && !sameTarget(b, *o, *n))) {
				return "backend " + b.Name + ": server " + n.Name + " differs from what runs", false, nil
			}
		}
		p.servers(b, have[b.Name])
	}
	for _, f := range want.Frontends {
		for _, m := range f.maps() {
			have, err := h.showMap(ctx, m.name)
			if err != nil {
				return "", false, err
			}
			p.requests = append(p.requests, mapRequests(m, have)...)
		}
	}
	changed, err = h.carryOut(ctx, want, p)
	return "", changed, err
}

// showServers asks for the servers of a backend, of all when it is "".
func (h *HAProxy) showServers(ctx context.Context, backend string) (string, []observed, error) {
	text, err := h.cli.ask(ctx, strings.TrimSpace("show servers state "+backend))
	if err != nil {
		return "", nil, err
	}
	list, err := parseState(text)
	return text, list, err
}

// showMap asks for the entries of a map, sorted by key.
func (h *HAProxy) showMap(ctx context.Context, name string) ([]entry, error) {
	text, err := h.cli.ask(ctx, "show map "+name)
	if err != nil {
		return nil, err
	}
	var list []entry
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case len(fields) == 3 && strings.HasPrefix(fields[0], "0x"):
			list = append(list, entry{fields[1], fields[2]})
		default:
			return nil, fmt.Errorf("show map %s: %s", name, firstLine(line))
		}
	}
	slices.SortFunc(list, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	return list, nil
}
