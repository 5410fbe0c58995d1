package haproxy

import (
	"errors"
	"reflect"
)

// check is checkConfig of what want does not share with what is applied, which
// was checked before.
func (h *HAProxy) check(want Config) error {
	if !sameShape(h.applied, want) {
		good := make(map[*Backend]bool, len(h.applied.Backends))
		for _, b := range h.applied.Backends {
			good[b] = true
		}
		return checkConfig(want, func(b *Backend) bool { return good[b] })
	}
	var errs []error
	for i, b := range want.Backends {
		if b != h.applied.Backends[i] {
			errs = append(errs, checkBackend(b))
		}
	}
	return errors.Join(errs...)
}

// sameShape reports whether two configurations share their frontends, have
// backends of the same names and modes, and differ in nothing else: what one
// part refers to in another is then as good as it was.
func sameShape(a, b Config) bool {
	if !sameFrontends(a, b) || len(a.Backends) != len(b.Backends) {
		return false
	}
	have, want := a.Backends, b.Backends
	a.Frontends, a.Backends, b.Frontends, b.Backends = nil, nil, nil, nil
	if !reflect.DeepEqual(a, b) {
		return false
	}
	for i, old := range have {
		if fresh := want[i]; old != fresh && (old.Name != fresh.Name || old.Mode != fresh.Mode) {
			return false
		}
	}
	return true
}

// sameFrontends reports whether the frontends are the very same list, as they
// are from round to round until the configuration is another one.
func sameFrontends(a, b Config) bool {
	return len(a.Frontends) == len(b.Frontends) && len(a.Frontends) > 0 && &a.Frontends[0] == &b.Frontends[0]
}
