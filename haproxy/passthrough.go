package haproxy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// BeforeTLS is the place of a backend whose one server is HAProxy itself: the
// frontend that ends TLS, behind the one that looks at names. See [passer].
const BeforeTLS Place = "before tls"

// endedName is the frontend that ends the TLS that is not passed through, and
// the backend that leads to it. No service, set or rate table is called so.
func endedName(frontend string) string { return frontend + "::tls" }

// passer divides each frontend that ends TLS and passes some of it through in
// two. The first has the addresses; it reads the server name in the client's
// hello and decrypts nothing. What is not to be passed through it hands to the
// second, which ends TLS, over a unix socket of HAProxy's own, behind a PROXY
// header: so the second sees clients as if they had come to it. A port that
// has only one of the two kinds stays as it is, and pays nothing.
//
// It remembers what it made, so that what did not change keeps its identity.
// The zero value has made nothing.
type passer struct {
	given, made []Frontend
	backends    map[string]*Backend
}

// apply gives want with such frontends divided. Without any it is want itself.
func (p *passer) apply(want Config) Config {
	if !slices.ContainsFunc(want.Frontends, Frontend.passes) {
		*p = passer{}
		return want
	}
	if !sameFrontends(Config{Frontends: p.given}, want) {
		p.given, p.made = want.Frontends, divided(want.Frontends)
	}
	backends, all := make(map[string]*Backend), slices.Clone(want.Backends)
	for _, f := range want.Frontends {
		if !f.passes() {
			continue
		}
		b := f.ended(want.Backends)
		if old := p.backends[b.Name]; old != nil && reflect.DeepEqual(old, b) {
			b = old
		}
		backends[b.Name], all = b, append(all, b)
	}
	slices.SortStableFunc(all, func(a, b *Backend) int { return strings.Compare(a.Name, b.Name) })
	p.backends = backends
	want.Frontends, want.Backends = p.made, all
	return want
}

func (f Frontend) passes() bool { return len(f.Passthrough) > 0 }

// divided are the frontends with those that pass TLS through as two each.
func divided(frontends []Frontend) []Frontend {
	var list []Frontend
	for _, f := range frontends {
		if !f.passes() {
			list = append(list, f)
			continue
		}
		names := Frontend{
			Name: f.Name, Mode: TCP, Binds: f.Binds, ClientTimeout: f.ClientTimeout, AcceptProxy: f.AcceptProxy,
			Routes: f.Names(), Default: endedName(f.Name),
		}
		f.Name, f.Inside, f.Passthrough, f.AcceptProxy = endedName(f.Name), true, nil, nil
		list = append(list, names, f)
	}
	slices.SortFunc(list, func(a, b Frontend) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Names are the routes by server name of a port that passes TLS through: those
// that are declared, and the hosts of the port's own that one of their
// wildcards would take otherwise. The exact name wins, here as everywhere.
func (f Frontend) Names() []Route {
	list, known := slices.Clone(f.Passthrough), make(map[string]bool)
	for _, r := range f.Passthrough {
		known[r.Host] = true
	}
	for _, r := range f.Routes {
		_, parent, _ := strings.Cut(r.Host, ".")
		if r.Host != "" && !known[r.Host] && known["*."+parent] {
			known[r.Host] = true
			list = append(list, Route{Host: r.Host, Backend: endedName(f.Name)})
		}
	}
	return list
}

// ended is the backend that leads to the frontend that ends TLS. That one
// decides when a connection has been silent for too long, so this one waits longer.
func (f Frontend) ended(backends []*Backend) *Backend {
	const usual, spare = time.Hour, time.Minute
	longest := max(usual, f.ClientTimeout)
	for _, b := range backends {
		longest = max(longest, b.Tunnel, b.Server, b.Queue)
	}
	name := endedName(f.Name)
	return &Backend{Name: name, Mode: TCP, Place: BeforeTLS, Tunnel: longest + spare, Servers: []Server{
		{Name: "tls", Socket: f.socket(), State: Ready, Weight: 1},
	}}
}

// socket is the name, in [Sockets], of the socket between the two frontends. A path of a
// socket must be short.
func (f Frontend) socket() string {
	const longest = 24
	name := strings.TrimSuffix(f.Name, endedName(""))
	if len(name) > longest || strings.Contains(name, ":") {
		sum := sha256.Sum256([]byte(name))
		name = hex.EncodeToString(sum[:longest/2])
	}
	return name + ".tls"
}

// writeInside writes the bind of the frontend behind the one that looks at
// names. Nobody but HAProxy can open it, see [Sockets]: whoever did could claim
// any address.
func (f Frontend) writeInside(w *strings.Builder, p Paths) {
	fmt.Fprintf(w, "  bind unix@%s mode 666 accept-proxy%s\n", p.socket(f.socket()), f.tlsKeywords())
}

// checkPassthrough returns the faults of what is passed through, before
// frontends are divided.
func checkPassthrough(want Config) error {
	var errs []error
	for _, f := range want.Frontends {
		if f.passes() && (f.Mode != HTTP || len(f.Certificates) == 0 || f.LastPort != 0) {
			errs = append(errs, fmt.Errorf("frontend %q: TLS is passed through beside TLS that is ended: it needs mode http and certificates", f.Name))
		}
	}
	return errors.Join(errs...)
}

// passthroughCause says what becomes of a port where TLS is passed through, or
// ended, beside the other from now on; "" where nothing of the kind does.
func passthroughCause(o, n *Frontend) string {
	switch ended := endedName(n.Name); {
	case o.Mode == n.Mode:
		return ""
	case n.Default == ended:
		return "TLS is passed through as well (tcp.sni)"
	case o.Default == ended:
		return "TLS is not both passed through (tcp.sni) and ended any more"
	}
	return ""
}
