package controller

import (
	"bytes"
	"slices"
	"time"

	"github.com/vipilot/vipilot/acme"
	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/haproxy"
)

// challengeBackend answers what a certificate authority asks over HTTP-01. No
// service has such a name, and every service's name sorts behind it.
const (
	challengeBackend = ".acme"
	challengePath    = "/.well-known/acme-challenge"
	challengeSocket  = "acme.sock" // in haproxy.Sockets
	standardRunDir   = "/run/vipilot"
)

// wantOrders are the certificates that the node's services want over ACME.
func wantOrders(cfg *config.Config, node config.Node) []acme.Order {
	var orders []acme.Order
	for _, s := range servedBy(cfg, node) {
		if s.HTTP == nil || s.HTTP.TLS == nil || s.HTTP.TLS.ACME == "" {
			continue
		}
		i, _ := cfg.Issuer(s.HTTP.TLS.ACME)
		for _, host := range s.HTTP.Hosts {
			orders = append(orders, acme.Order{Host: host, Issuer: acme.Issuer{
				Name: i.Name, Directory: i.Directory, Email: i.Email, Storage: i.Storage, CA: string(i.CA),
			}})
		}
	}
	return orders
}

// wantChallenges leads challenges to the controller, which shares the answers
// with the other nodes. It is nil where nothing is obtained over ACME. While
// no controller runs they get a 503, and nothing else suffers.
func wantChallenges(orders []acme.Order) *haproxy.Backend {
	if len(orders) == 0 {
		return nil
	}
	noRetry := 0
	return &haproxy.Backend{
		Name: challengeBackend, Mode: haproxy.HTTP, Retries: &noRetry,
		Check: haproxy.Check{Interval: 500 * time.Millisecond, Rise: 1, Fall: 2},
		Servers: []haproxy.Server{{Name: "controller", State: haproxy.Ready, Weight: 1,
			Socket: challengeSocket}},
	}
}

// challengeRoutes are the routes to it. Their path is longer than those of
// redirects, which would win otherwise.
func challengeRoutes(f *haproxy.Frontend, s config.Service) {
	for _, host := range s.HTTP.Hosts {
		r := haproxy.Route{Host: host, Path: challengePath, Backend: challengeBackend}
		if !slices.ContainsFunc(f.Routes, func(o haproxy.Route) bool { return o.Host == r.Host && o.Backend == r.Backend }) {
			f.Routes = append(f.Routes, r)
		}
	}
}

// orderCertificates tells the authority what the configuration in force
// wants. What there is already, or a temporary certificate, is there at once.
func (l *loop) orderCertificates() {
	if l.ordered == l.in.Config {
		return
	}
	node, ok := l.in.Config.Node(l.in.Node)
	if !ok {
		return
	}
	if err := l.authority.Set(wantOrders(l.in.Config, node)); err != nil {
		l.log.Error("order certificates", "err", err)
		return
	}
	l.ordered = l.in.Config
	l.takeCertificates()
}

// takeCertificates puts what the authority has into the state.
func (l *loop) takeCertificates() {
	l.issued = l.authority.Certificates()
	fresh := &Obtained{PEM: make(map[string][]byte, len(l.issued))}
	same := l.in.Obtained != nil && len(l.in.Obtained.PEM) == len(l.issued)
	for key, c := range l.issued {
		name := obtainedName(key.Issuer, key.Host)
		fresh.PEM[name] = c.PEM
		same = same && bytes.Equal(l.in.Obtained.PEM[name], c.PEM)
	}
	if !same {
		l.in.Obtained = fresh
	}
}

// standIns are certificates for what has none yet, where only their being
// there matters.
func standIns(cfg *config.Config) *Obtained {
	return obtainEach(cfg, func(string) ([]byte, error) { return []byte("to be obtained"), nil })
}

// temporaries are certificates that HAProxy takes.
func temporaries(cfg *config.Config) *Obtained {
	return obtainEach(cfg, func(host string) ([]byte, error) {
		c, err := acme.Temporary(host)
		return c.PEM, err
	})
}

func obtainEach(cfg *config.Config, obtain func(host string) ([]byte, error)) *Obtained {
	all := &Obtained{PEM: make(map[string][]byte)}
	for _, s := range cfg.Services {
		if s.HTTP == nil || s.HTTP.TLS == nil || s.HTTP.TLS.ACME == "" {
			continue
		}
		for _, host := range s.HTTP.Hosts {
			if pem, err := obtain(host); err == nil {
				all.PEM[obtainedName(s.HTTP.TLS.ACME, host)] = pem
			}
		}
	}
	return all
}
