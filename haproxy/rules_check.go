package haproxy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

var (
	headerForm  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)
	valueForm   = regexp.MustCompile(`^[ -~]{0,1000}$`)
	realmForm   = regexp.MustCompile(`^[A-Za-z0-9 ._-]{1,64}$`)
	userForm    = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,64}$`)
	hashForm    = regexp.MustCompile(`^\$[0-9a-z]{1,2}\$[A-Za-z0-9./=$]{1,200}$`)
	rewriteForm = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+$`)
	methodForm  = regexp.MustCompile(`^[A-Z]{1,20}$`)
)

// faults are the reasons for which HAProxy must not see these rules.
func (r Rules) faults(mode Mode) error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, p := range slices.Concat(r.Trusted, r.Deny, r.Allow) {
		if !p.IsValid() {
			fault("a network is none")
		}
	}
	if mode == TCP && (len(r.Trusted) > 0 || r.Maintenance || r.MaxSize != 0 || r.Rate != Rate{} || r.Auth != nil || r.Rewrite != Rewrite{} ||
		r.Redirect != nil || r.Compress || len(r.Pages) > 0 || !r.Request.empty() || !r.Response.empty()) {
		fault("rules other than allow and deny need mode http")
	}
	if r.MaxSize < 0 || r.Rate.Requests < 0 || r.Rate.Requests > 0 && (r.Rate.Per < time.Second || r.Rate.Per > time.Hour) {
		fault("a limit is out of range")
	}
	if r.Auth != nil {
		errs = append(errs, r.Auth.fault())
	}
	for _, prefix := range []string{r.Rewrite.Strip, r.Rewrite.Add} {
		if prefix != "" && !rewriteForm.MatchString(prefix) {
			fault("path prefix %q may hold letters, digits and ._~- only, in segments", prefix)
		}
	}
	if d := r.Redirect; d != nil && (!hostForm.MatchString(d.Host) || strings.HasPrefix(d.Host, "*") || !slices.Contains([]int{301, 302, 303, 307, 308}, d.Code)) {
		fault("redirect to %q with %d is none", d.Host, d.Code)
	}
	last := 0
	for _, p := range r.Pages {
		if p.Status <= last || p.Status > 599 || len(p.Content) > MaxPage {
			fault("the page for %d is out of order, or larger than %d bytes", p.Status, MaxPage)
		}
		last = p.Status
	}
	return errors.Join(append(errs, r.Request.fault(), r.Response.fault())...)
}

func (a *Auth) fault() error {
	if !realmForm.MatchString(a.Realm) || len(a.Users) == 0 {
		return fmt.Errorf("realm %q may hold letters, digits, spaces and ._- only, and needs users", a.Realm)
	}
	seen := make(map[string]bool)
	for _, u := range a.Users {
		if !userForm.MatchString(u.Name) || !hashForm.MatchString(string(u.Hash)) || seen[u.Name] {
			return fmt.Errorf("user %q is there twice, or the name or the hash has an impossible character", u.Name)
		}
		seen[u.Name] = true
	}
	return nil
}

func (h Headers) empty() bool { return len(h.Delete)+len(h.Set)+len(h.Add) == 0 }

func (h Headers) fault() error {
	for _, name := range h.Delete {
		if !headerForm.MatchString(name) {
			return fmt.Errorf("header name %q may hold letters, digits, _ and - only", name)
		}
	}
	for _, one := range slices.Concat(h.Set, h.Add) {
		if !headerForm.MatchString(one.Name) || !valueForm.MatchString(one.Value) {
			return fmt.Errorf("header %q: the name or the value has an impossible character", one.Name)
		}
	}
	return nil
}
