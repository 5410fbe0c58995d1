package haproxy

import (
	"cmp"
	"fmt"
	"iter"
	"reflect"
	"slices"
)

// pairs walks two lists sorted by name together: (old, nil) is gone, (nil, new)
// came, and both are there under the same name otherwise.
func pairs[T any](old, new []T, name func(*T) string) iter.Seq2[*T, *T] {
	return func(yield func(*T, *T) bool) {
		for len(old) > 0 || len(new) > 0 {
			var o, n *T
			order := 0
			switch {
			case len(old) == 0:
				order = 1
			case len(new) == 0:
				order = -1
			default:
				order = cmp.Compare(name(&old[0]), name(&new[0]))
			}
			if order <= 0 {
				o, old = &old[0], old[1:]
			}
			if order >= 0 {
				n, new = &new[0], new[1:]
			}
			if !yield(o, n) {
				return
			}
		}
	}
}

func frontendName(f *Frontend) string { return f.Name }
func backendName(b **Backend) string  { return (*b).Name }
func serverName(s *Server) string     { return s.Name }
func entryKey(e *entry) string        { return e.key }

// structural names the first difference that only a reload can make, "" when
// runtime updates suffice.
func structural(have, want Config) string {
	for cause := range causes(have, want) {
		return cause
	}
	return ""
}

// causes names every difference that only a reload can make.
func causes(have, want Config) iter.Seq[string] {
	return func(yield func(string) bool) {
		if have.Closing != want.Closing && !yield(closingCause(want.Closing)) {
			return
		}
		if have.MaxConn != want.MaxConn && !yield(fmt.Sprintf("maxconn %d became %d", have.MaxConn, want.MaxConn)) {
			return
		}
		if cause := tierCause(have.Tier, want.Tier); cause != "" && !yield(cause) {
			return
		}
		if cause := peersCause(have, want); cause != "" && !yield(cause) {
			return
		}
		if !reflect.DeepEqual(have.Raw, want.Raw) && !yield("raw lines of global or defaults changed") {
			return
		}
		frontends := pairs(have.Frontends, want.Frontends, frontendName)
		if sameFrontends(have, want) {
			frontends = func(func(*Frontend, *Frontend) bool) {}
		} else if have.resumes() != want.resumes() && !yield("the number of client CAs decides whether TLS sessions are resumed") {
			return
		}
		told, late := false, "" // where a backend came or went, a frontend that leads to one alone merely follows
		for o, n := range frontends {
			cause := frontendCause(o, n)
			switch {
			case cause == "":
			case cause == onlyCause(o, n):
				late = cmp.Or(late, cause)
			case !yield(cause):
				return
			default:
				told = true
			}
		}
		for o, n := range pairs(have.Backends, want.Backends, backendName) {
			cause := ""
			switch {
			case o == nil:
				cause = "backend " + (*n).Name + " added"
			case n == nil:
				cause = "backend " + (*o).Name + " removed"
			default:
				cause = backendCause(*o, *n)
			}
			if cause == "" {
				continue
			}
			if told = true; !yield(cause) {
				return
			}
		}
		if late != "" && !told {
			yield(late)
		}
	}
}

func closingCause(closing bool) string {
	if closing {
		return "clients are asked to reconnect"
	}
	return "clients are no longer asked to reconnect"
}

// Compare says what a Set of want would do to a HAProxy that runs have, and
// every difference that makes it a reload.
func Compare(have, want Config) (ChangeKind, []string) {
	have, want = new(splitter).apply(new(passer).apply(have)), new(splitter).apply(new(passer).apply(want))
	if reasons := slices.Collect(causes(have, want)); len(reasons) > 0 {
		return Reload, reasons
	}
	same := func(a, b *Backend) bool { return a == b || reflect.DeepEqual(a, b) }
	if slices.EqualFunc(have.Backends, want.Backends, same) && reflect.DeepEqual(have.Frontends, want.Frontends) {
		return None, nil
	}
	return Runtime, nil
}

func frontendCause(o, n *Frontend) string {
	switch {
	case o == nil:
		return "frontend " + n.Name + " added"
	case n == nil:
		return "frontend " + o.Name + " removed"
	case passthroughCause(o, n) != "":
		return "frontend " + n.Name + ": " + passthroughCause(o, n)
	case !slices.Equal(o.Binds, n.Binds), o.LastPort != n.LastPort:
		return "frontend " + n.Name + ": binds changed (vips.addresses or a port)"
	case o.lookups() != n.lookups() && onlyCause(o, n) == "":
		return "frontend " + n.Name + ": its first or last route of a kind (http.hosts, http.paths, http.redirect)"
	case !slices.Equal(o.AcceptProxy, n.AcceptProxy):
		return "frontend " + n.Name + ": accept_proxy changed"
	case !reflect.DeepEqual(o.splitShape(), n.splitShape()):
		return "frontend " + n.Name + ": sets of a split changed"
	case o.Mode != n.Mode, o.Default != n.Default, o.RedirectPort != n.RedirectPort, o.Profile != n.Profile, o.ClientTimeout != n.ClientTimeout, o.Guarded != n.Guarded, o.QUIC != n.QUIC:
		return "frontend " + n.Name + ": " + changedFields(withoutRoutes(*o), withoutRoutes(*n))
	}
	if cause := certificatesCause(o, n); cause != "" {
		return "frontend " + n.Name + ": " + cause
	}
	return onlyCause(o, n)
}

// onlyCause says that of two frontends with the plainest rules one leads to
// one backend alone, and the other to another or to more; "" where it is not so.
func onlyCause(o, n *Frontend) string {
	if o == nil || n == nil {
		return ""
	}
	was, is := o.lookups(), n.lookups()
	switch {
	case was == is || !was.plainest() || !is.plainest():
		return ""
	case was.only != "" && is.only != "":
		return "frontend " + n.Name + ": leads to " + is.only + " in place of " + was.only
	case is.only != "":
		return "frontend " + n.Name + ": leads to " + is.only + " alone"
	}
	return "frontend " + n.Name + ": leads to more than " + was.only
}

// withoutRoutes is the frontend without what runtime updates change.
func withoutRoutes(f Frontend) Frontend {
	f.Routes, f.Redirects, f.Certificates = nil, nil, nil
	return f
}

func backendCause(o, n *Backend) string {
	if o == n {
		return ""
	}
	a, b := *o, *n
	a.Servers, b.Servers = nil, nil
	if cause := tlsCause(a.TLS, b.TLS); cause != "" {
		return "backend " + n.Name + ": " + cause + " changed"
	}
	a.TLS, b.TLS = nil, nil
	a.Drain, b.Drain = 0, 0 // ours alone: no file says it
	if !reflect.DeepEqual(a, b) {
		return "backend " + n.Name + ": " + changedFields(a, b)
	}
	for so, sn := range pairs(o.Servers, n.Servers, serverName) {
		switch {
		case sn == nil:
		case so == nil && sn.isFixed():
			return "backend " + n.Name + ": server " + sn.Name + " is not named by an IP address"
		case so != nil && (so.target() != sn.target() || so.Backup != sn.Backup || so.Via != sn.Via || so.Source != sn.Source):
			return "backend " + n.Name + ": server " + sn.Name + " changed"
		}
	}
	return ""
}

// meanwhile is the backend with as many of the servers wanted in n as it can
// have before the reload, which may be refused for hours: all that leave or
// change their state, and those that come, if both speak to servers in the same
// way. It stays as it is where no server would be left ready.
func (b *Backend) meanwhile(n *Backend) *Backend {
	var servers []Server
	for have, want := range pairs(b.Servers, n.Servers, serverName) {
		switch {
		case want == nil:
		case have == nil:
			if !want.isFixed() && b.speaksLike(n) {
				servers = append(servers, *want)
			}
		default:
			stays := *have
			stays.State, stays.Weight = want.State, want.Weight
			servers = append(servers, stays)
		}
	}
	isReady := func(s Server) bool { return s.State == Ready }
	if slices.Equal(servers, b.Servers) || !slices.ContainsFunc(servers, isReady) && slices.ContainsFunc(b.Servers, isReady) {
		return b
	}
	m := *b
	m.Servers = servers
	return &m
}

// speaksLike reports whether both backends say the same to a server that is
// new: one that waits for TLS must not be met without.
func (b *Backend) speaksLike(n *Backend) bool {
	return b.Mode == n.Mode && b.H2 == n.H2 && b.ProxyProtocol == n.ProxyProtocol && b.Place == n.Place && reflect.DeepEqual(b.TLS, n.TLS)
}

// reachable is as much of want as runtime updates can make of have: what stands
// meanwhile when a reload is due but must wait, or fails.
func reachable(have, want Config) Config {
	got := Config{Closing: have.Closing, MaxConn: have.MaxConn, Peers: have.Peers, Raw: have.Raw, Tier: have.Tier}
	known := make(map[string]bool, len(have.Backends))
	for o, n := range pairs(have.Backends, want.Backends, backendName) {
		var b *Backend
		switch {
		case o == nil:
			continue
		case n == nil:
			b = *o
		case backendCause(*o, *n) != "":
			b = (*o).meanwhile(*n)
		default:
			b = *n
		}
		known[b.Name] = true
		got.Backends = append(got.Backends, b)
	}
	for o, n := range pairs(have.Frontends, want.Frontends, frontendName) {
		if o == nil {
			continue
		}
		toUnknown := func(r Route) bool { return !known[r.Backend] }
		if n == nil || frontendCause(o, n) != "" || slices.ContainsFunc(n.Routes, toUnknown) {
			n = o
		}
		got.Frontends = append(got.Frontends, *n)
	}
	return got
}
