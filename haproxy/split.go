package haproxy

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Share is what a container set gets of a backend's new sessions, whatever the
// number of its servers. The rest goes to the servers without a set.
type Share struct {
	Set     string
	Percent int // 0..100
}

// Split is a split backend as a frontend sees it.
type Split struct {
	Backend string // of the servers without a set
	Shares  []Share
	Cookie  string // ties a client to its set, too; "" = none
	Source  bool   // the address decides, not chance: it ties clients to servers
}

// BackendName is HAProxy's backend for a set of a service's servers. No
// service is called so: its name has no colon.
func BackendName(service, set string) string {
	if set == "" {
		return service
	}
	return service + ":" + set
}

// ofService is the key as the service's own: sets are HAProxy's business alone.
// The gate is no service and has no sets, though its name is formed like one;
// nor is what has two colons in its name.
func (k ServerKey) ofService() ServerKey {
	if k.Backend == Gate || strings.Contains(k.Backend, "::") {
		return k
	}
	service, _, _ := strings.Cut(k.Backend, ":")
	return ServerKey{service, k.Server}
}

// splitter turns split backends into one for each set, with frontends that
// choose between them. It remembers what it made, so that what did not change
// keeps its identity. The zero value has made nothing.
type splitter struct {
	of        map[*Backend][]*Backend
	made      map[string]*Backend
	sets      map[string][]string // by service: its backends
	given     []Frontend
	splits    map[string]Split
	frontends []Frontend
}

// apply gives want with every split carried out. Without any it is want itself.
func (s *splitter) apply(want Config) Config {
	if !slices.ContainsFunc(want.Backends, (*Backend).isSplit) {
		*s = splitter{}
		return want
	}
	of, made, sets, splits := make(map[*Backend][]*Backend), make(map[string]*Backend), make(map[string][]string), make(map[string]Split)
	backends := make([]*Backend, 0, len(want.Backends)+8)
	for _, b := range want.Backends {
		if !b.isSplit() {
			backends = append(backends, b)
			continue
		}
		list := s.of[b]
		if list == nil {
			list = b.bySet()
			for i, one := range list {
				if old := s.made[one.Name]; old != nil && reflect.DeepEqual(old, one) {
					list[i] = old
				}
			}
		}
		of[b] = list
		for _, one := range list {
			made[one.Name] = one
			sets[b.Name] = append(sets[b.Name], one.Name)
		}
		backends = append(backends, list...)
		splits[b.Name] = Split{b.Name, b.Split, b.StickyCookie, b.StickySource > 0 || b.Balance == "source"}
	}
	slices.SortFunc(backends, func(a, b *Backend) int { return strings.Compare(a.Name, b.Name) })
	if !sameFrontends(Config{Frontends: s.given}, want) || !reflect.DeepEqual(s.splits, splits) {
		s.given, s.splits, s.frontends = want.Frontends, splits, withSplits(want.Frontends, splits)
	}
	s.of, s.made, s.sets = of, made, sets
	want.Backends, want.Frontends = backends, s.frontends
	return want
}

func (b *Backend) isSplit() bool { return len(b.Split) > 0 }

// bySet is one backend for the servers without a set and one for each set. A
// client's cookie has another name in each, so that a frontend can tell them.
func (b *Backend) bySet() []*Backend {
	list := make([]*Backend, 0, len(b.Split)+1)
	for _, share := range append([]Share{{}}, b.Split...) {
		one := *b
		one.Name, one.Split, one.Servers = BackendName(b.Name, share.Set), nil, nil
		one.StickyCookie = setCookie(b.StickyCookie, share.Set)
		for _, s := range b.Servers {
			if s.Set == share.Set {
				one.Servers = append(one.Servers, s)
			}
		}
		list = append(list, &one)
	}
	return list
}

func setCookie(cookie, set string) string {
	if cookie == "" || set == "" {
		return cookie
	}
	return cookie + "." + set
}

// withSplits gives the frontends what they need to choose a set.
func withSplits(frontends []Frontend, splits map[string]Split) []Frontend {
	frontends = slices.Clone(frontends)
	for i := range frontends {
		f := &frontends[i]
		targets := []string{f.Default}
		for _, r := range f.Routes {
			targets = append(targets, r.Backend)
		}
		slices.Sort(targets)
		for _, name := range slices.Compact(targets) {
			if one, ok := splits[name]; ok {
				f.Splits = append(f.Splits, one)
			}
		}
	}
	return frontends
}

// splitMap holds the shares of a frontend's splits: changing one is a runtime
// update.
func (f Frontend) splitMap() string { return "maps/" + f.Name + ".split.map" }

// splitMaps adds that map to the others.
func (f Frontend) splitMaps(list []routeMap) []routeMap {
	if len(f.Splits) == 0 {
		return list
	}
	return append(list, routeMap{f.splitMap(), f.splitEntries()})
}

// splitEntries are the lines of that map: for each set where its part of the
// hundred ends, and for all what they get.
func (f Frontend) splitEntries() []entry {
	var lines []entry
	for _, s := range f.Splits {
		rest, end := 100, 0
		for _, share := range s.Shares {
			name := BackendName(s.Backend, share.Set)
			end += share.Percent
			rest -= share.Percent
			lines = append(lines, entry{name, strconv.Itoa(end)}, entry{name + "/share", strconv.Itoa(share.Percent)})
		}
		lines = append(lines, entry{s.Backend + "/share", strconv.Itoa(rest)})
	}
	slices.SortFunc(lines, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	return lines
}

// splitShape is what of the splits only a reload can change.
func (f Frontend) splitShape() []Split {
	shape := slices.Clone(f.Splits)
	for i := range shape {
		shape[i].Shares = slices.Clone(shape[i].Shares)
		for j := range shape[i].Shares {
			shape[i].Shares[j].Percent = 0
		}
	}
	return shape
}

// splitRules writes the rules that choose the set: by chance, or by a hash of
// the client's address; a cookie overrules it while its set has a share; a set
// that cannot serve leaves its clients to the others. is gives the condition
// that a request goes to a backend; "" = always.
func (f Frontend) splitRules(w *strings.Builder, is func(backend string) string) {
	verb := "http-request"
	if f.Mode == TCP {
		verb = "tcp-request content"
	}
	set := func(name, expr, cond string) {
		line := fmt.Sprintf("  %s set-var(txn.%s) %s", verb, name, expr)
		if cond = strings.TrimSpace(cond); cond != "" {
			line += " if " + cond
		}
		w.WriteString(line + "\n")
	}
	for _, s := range f.Splits {
		here := is(s.Backend) + " "
		share := func(set string) string {
			return fmt.Sprintf("{ str(%s/share),map(%s,0) -m int gt 0 } ", BackendName(s.Backend, set), f.splitMap())
		}
		dice := "rand(100)"
		if s.Source {
			dice = "src,crc32(1),mod(100)"
		}
		set("dice", dice, here)
		for _, one := range slices.Backward(s.Shares) { // the first whose part reaches beyond the dice stays
			name := BackendName(s.Backend, one.Set)
			set("set", "str("+name+")", here+fmt.Sprintf("{ str(%s),map(%s,0),sub(txn.dice) gt 0 }", name, f.splitMap()))
		}
		if s.Cookie != "" {
			for _, one := range append([]Share{{}}, s.Shares...) {
				name := BackendName(s.Backend, one.Set)
				set("set", "str("+name+")", here+fmt.Sprintf("{ req.cook(%s) -m found } ", setCookie(s.Cookie, one.Set))+share(one.Set)+"{ nbsrv("+name+") gt 0 }")
			}
		}
		set("set", "str("+s.Backend+")", here+"!{ var(txn.set) -m found }")
		set("set", "str("+s.Backend+")", here+"{ var(txn.set),nbsrv eq 0 }")
		for _, one := range s.Shares {
			name := BackendName(s.Backend, one.Set)
			set("set", "str("+name+")", here+"{ var(txn.set),nbsrv eq 0 } { nbsrv("+name+") gt 0 }")
		}
	}
}

// checkShares returns what is wrong with a backend's split, "" when nothing is.
func checkShares(b *Backend) string {
	sum := 0
	seen := map[string]bool{"": true}
	for _, share := range b.Split {
		if !nameForm.MatchString(share.Set) || strings.Contains(share.Set, ":") || seen[share.Set] {
			return fmt.Sprintf("split: %q is no set's name, or there twice", share.Set)
		}
		if sum += share.Percent; share.Percent < 0 || sum > 100 {
			return fmt.Sprintf("split: %d%% for %s makes more than the whole", share.Percent, share.Set)
		}
		seen[share.Set] = true
	}
	for _, s := range b.Servers {
		if !seen[s.Set] {
			return fmt.Sprintf("server %q is in set %q, which has no share", s.Name, s.Set)
		}
	}
	return ""
}

// splitByName is splitRules for connections that are routed by the name in
// their TLS hello.
func (f Frontend) splitByName(w *strings.Builder, l lookups) {
	if len(f.Splits) == 0 {
		return
	}
	for _, key := range l.hosts.keys("req.ssl_sni,lower") {
		if key == "" {
			continue
		}
		lookup := key + ",map(" + f.mapName() + ")"
		fmt.Fprintf(w, "  tcp-request content set-var(txn.to) %s if { req.ssl_hello_type 1 } !{ var(txn.to) -m found } { %s -m found }\n", lookup, lookup)
	}
	f.splitRules(w, func(backend string) string { return "{ var(txn.to) -m str " + backend + " }" })
}

// useSet writes the rule that follows the choice.
func (f Frontend) useSet(w *strings.Builder) {
	if len(f.Splits) > 0 {
		w.WriteString("  use_backend %[var(txn.set)] if { var(txn.set) -m found }\n")
	}
}

// split divides frontends that pass TLS through, carries out the splits of want, and remembers the backends of each
// service for those who ask about it.
func (h *HAProxy) split(want Config) Config {
	want = h.splitter.apply(h.passer.apply(want))
	h.seen.Lock()
	h.sets = h.splitter.sets
	h.seen.Unlock()
	return want
}

// backendsOf are HAProxy's backends of a service.
func (h *HAProxy) backendsOf(service string) []string {
	h.seen.Lock()
	defer h.seen.Unlock()
	if sets := h.sets[service]; len(sets) > 0 {
		return sets
	}
	return []string{service}
}

// serviceVerdicts gives verdicts, and the servers that left, by service. A
// server may leave one set for another: then it has not left.
func serviceVerdicts(verdicts map[ServerKey]Health, gone []ServerKey) (map[ServerKey]Health, []ServerKey) {
	byService := make(map[ServerKey]Health, len(verdicts))
	for key, v := range verdicts {
		if !slices.Contains(gone, key) {
			byService[key.ofService()] = v
		}
	}
	var left []ServerKey
	for _, key := range gone {
		if _, stays := byService[key.ofService()]; !stays {
			left = append(left, key.ofService())
		}
	}
	return byService, left
}

// checkSplits returns the faults of all splits, before they are carried out.
func checkSplits(want Config) error {
	var errs []error
	for _, b := range want.Backends {
		if b.isSplit() {
			if why := checkShares(b); why != "" {
				errs = append(errs, fmt.Errorf("backend %q: %s", b.Name, why))
			}
		}
	}
	return errors.Join(errs...)
}
