package haproxy

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// What may stand in a file or a command. Nothing here can end a word, a line,
// a command or a quotation in HAProxy's syntax, nor start a comment or a variable.
var (
	nameForm   = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,200}$`)
	certForm   = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._@-]{0,199}$`)
	hostForm   = regexp.MustCompile(`^(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*$`)
	pathForm   = regexp.MustCompile(`^/[A-Za-z0-9._~%!&()*+,=:@/-]*$`)
	socketForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,30}$`)
	checkForm  = regexp.MustCompile(`^/[A-Za-z0-9._~%!&()*+,=:@/?-]*$`)
)

// balances are the algorithms that accept servers at run time.
var balances = map[string]string{
	"": "roundrobin", "roundrobin": "roundrobin", "leastconn": "leastconn",
	"random": "random", "source": "source", "uri": "uri",
}

// checkConfig returns every fault of want that would put something hostile or
// meaningless in a file or a command. A backend for which known is true has
// been checked before and is not looked at again.
func checkConfig(want Config, known func(*Backend) bool) error {
	errs := []error{want.Raw.fault()}
	backends := make(map[string]Mode, len(want.Backends))
	last := ""
	for _, b := range want.Backends {
		if b.Name <= last {
			errs = append(errs, fmt.Errorf("backend %q: names must be sorted and unique (after %q)", b.Name, last))
		}
		last = b.Name
		backends[b.Name] = b.Mode
		if !known(b) {
			errs = append(errs, checkBackend(b))
		}
	}
	errs = append(errs, checkPeers(want))
	last = ""
	certs := make(map[string][]byte)
	for _, f := range want.Frontends {
		if f.Name <= last {
			errs = append(errs, fmt.Errorf("frontend %q: names must be sorted and unique (after %q)", f.Name, last))
		}
		last = f.Name
		errs = append(errs, checkFrontend(f, backends), checkAcceptProxy(f), checkTLS(f, certs))
	}
	return errors.Join(append(errs, checkTier(want))...)
}

func checkFrontend(f Frontend, backends map[string]Mode) error {
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("frontend %q: "+format, append([]any{f.Name}, args...)...))
	}
	if !nameForm.MatchString(f.Name) {
		fault("a name may hold letters, digits and _.:- only")
	}
	if f.Mode != HTTP && f.Mode != TCP {
		fault("mode %q is neither http nor tcp", f.Mode)
	}
	if len(f.Binds) == 0 {
		fault("it has no bind")
	}
	for _, b := range f.Binds {
		if !b.Address.IsValid() || b.Address.Zone() != "" || b.Port == 0 || f.LastPort != 0 && f.LastPort < b.Port {
			fault("bind %s port %d is not an address and a port", b.Address, b.Port)
		}
	}
	if f.QUIC && len(f.Certificates) == 0 {
		fault("HTTP/3 needs certificates")
	}
	if f.Mode == TCP && (len(f.Redirects) > 0 || len(f.Certificates) > 0) {
		fault("redirects and certificates need mode http")
	}
	return errors.Join(append(errs, checkRoutes(f, backends))...)
}

func checkRoutes(f Frontend, backends map[string]Mode) error {
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("frontend %q: "+format, append([]any{f.Name}, args...)...))
	}
	targets := []string{f.Default}
	for _, r := range f.Routes {
		targets = append(targets, r.Backend)
		if r.Backend == "" {
			fault("route %s%s names no backend", r.Host, r.Path)
		}
	}
	for _, target := range targets {
		if mode, ok := backends[target]; target != "" && !ok {
			fault("backend %q does not exist", target)
		} else if ok && mode != f.Mode {
			fault("backend %q has mode %s, not %s", target, mode, f.Mode)
		}
	}
	seen := make(map[string]bool)
	for _, r := range append(append([]Route(nil), f.Routes...), f.Redirects...) {
		if !isHost(r.Host) {
			fault("route host %q is not a lower-case host name, a *.name or an address", r.Host)
		}
		if r.Path != "" && !pathForm.MatchString(r.Path) {
			fault("route path %q must start with / and hold only characters of a URL path (no space, quote, ; $ ? or #)", r.Path)
		}
		if why := r.If.fault(); why != "" || f.Mode == TCP && (r.If != Condition{} || r.KeepForwarded) {
			fault("route %s%s: a condition needs mode http: %s", r.Host, r.Path, why)
		}
		if key := f.key(r) + " " + r.If.String(); seen[key] {
			fault("route %s is there twice", key)
		} else {
			seen[key] = true
		}
	}
	return errors.Join(errs...)
}

// isHost reports whether a route may name this host: "" is every host.
func isHost(host string) bool {
	if host == "" || hostForm.MatchString(host) {
		return true
	}
	inner, ok := strings.CutPrefix(strings.TrimSuffix(host, "]"), "[")
	addr, err := netip.ParseAddr(inner)
	return ok && err == nil && addr.Zone() == "" && host == "["+addr.String()+"]"
}

func checkBackend(b *Backend) error {
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("backend %q: "+format, append([]any{b.Name}, args...)...))
	}
	if !nameForm.MatchString(b.Name) {
		fault("a name may hold letters, digits and _.:- only")
	}
	if b.Mode != HTTP && b.Mode != TCP {
		fault("mode %q is neither http nor tcp", b.Mode)
	}
	if balances[b.Balance] == "" {
		fault("balance %q is unknown (roundrobin, leastconn, random, source, uri)", b.Balance)
	}
	if b.StickyCookie != "" && (b.Mode != HTTP || !nameForm.MatchString(b.StickyCookie) || strings.Contains(b.StickyCookie, ":")) {
		fault("cookie %q: needs mode http and a name of letters, digits and _.-", b.StickyCookie)
	}
	if b.StickySource < 0 || b.StickySource > maxTable || b.SlowStart < 0 || b.SlowStart > maxTable {
		fault("sticky source %s and slow start %s must be within 0s..%s", b.StickySource, b.SlowStart, maxTable)
	}
	if b.ProxyProtocol != "" && b.ProxyProtocol.options() == nil {
		fault("proxy protocol %q is not v1 or v2", b.ProxyProtocol)
	}
	if why := b.Outlier.fault(b.Mode); why != "" {
		fault("%s", why)
	}
	if b.Check.Path != "" && !checkForm.MatchString(b.Check.Path) {
		fault("check path %q must start with / and hold only characters of a URL path", b.Check.Path)
	}
	if b.Check.Host != "" && (!hostForm.MatchString(b.Check.Host) || strings.HasPrefix(b.Check.Host, "*")) {
		fault("check host %q is no host name", b.Check.Host)
	}
	if b.MaxConn < 0 || (b.Retries != nil && (*b.Retries < 0 || *b.Retries > 100)) {
		fault("maxconn and retries must not be negative, nor retries above 100")
	}
	if why := b.TLS.fault(); why != "" {
		fault("%s", why)
	}
	if b.Guard != (Guard{}) && b.Mode != HTTP {
		fault("HSTS and client certificates need mode http")
	}
	last := ""
	for _, s := range b.Servers {
		if s.Name <= last {
			fault("server %q: names must be sorted and unique (after %q)", s.Name, last)
		}
		last = s.Name
		if why := s.fault(b.Check.Port != 0); why != "" {
			fault("server %q: %s", s.Name, why)
		}
	}
	for _, line := range b.Raw {
		if err := CheckRaw(BackendSection, line); err != nil {
			errs = append(errs, fmt.Errorf("backend %q: raw: %w", b.Name, err))
		}
	}
	if err := b.Rules.faults(b.Mode); err != nil {
		errs = append(errs, fmt.Errorf("backend %q: %w", b.Name, err))
	}
	if b.H2 && b.Mode != HTTP {
		fault("HTTP/2 needs mode http")
	}
	return errors.Join(errs...)
}

// fault says why HAProxy must not see this server, "" when it may.
func (s Server) fault(portless bool) string {
	switch {
	case !nameForm.MatchString(s.Name):
		return "a name may hold letters, digits and _.:- only"
	case s.Host != "" && (!hostForm.MatchString(strings.ToLower(s.Host)) || strings.HasPrefix(s.Host, "*") || s.Port == 0):
		return fmt.Sprintf("%q port %d is not a host name and a port", s.Host, s.Port)
	case s.Socket != "" && !socketForm.MatchString(s.Socket):
		return fmt.Sprintf("%q is not the name of a socket", s.Socket)
	case portless && (s.Host != "" || s.Via != "" || s.Socket != "" || s.Address.Port() != 0):
		return "it has a port or a name, where the client's port is used"
	case s.Host == "" && s.Socket == "" && (!s.Address.IsValid() || s.Address.Port() == 0 && !portless || s.Address.Addr().Zone() != ""):
		return "it has neither an address with a port nor a host name"
	case s.Weight < 0 || s.Weight > 256:
		return fmt.Sprintf("weight %d is not within 0..256", s.Weight)
	case s.State != Ready && s.State != Drain && s.State != Maint:
		return fmt.Sprintf("state %q is not ready, drain or maint", s.State)
	}
	return viaFault(s)
}
