package controller

import (
	"slices"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/haproxy"
)

// wantRules are the rules of a service's backend.
func wantRules(s config.Service) haproxy.Rules {
	if s.TCP != nil {
		return haproxy.Rules{Deny: s.TCP.Deny, Allow: s.TCP.Allow}
	}
	h := s.HTTP
	if h == nil {
		return haproxy.Rules{}
	}
	r := haproxy.Rules{
		Trusted: h.TrustedProxies, Deny: h.Deny, Allow: h.Allow, Maintenance: h.Maintenance,
		MaxSize: h.Request.MaxSize, Rate: haproxy.Rate(h.Request.RateLimit),
		Rewrite: haproxy.Rewrite{Strip: h.Rewrite.StripPrefix, Add: h.Rewrite.AddPrefix},
		Request: wantHeaders(h.Request.HeaderEdits), Response: wantHeaders(h.Response.HeaderEdits), Compress: h.Response.Compress,
	}
	if h.Redirect != nil {
		r.Redirect = &haproxy.Redirect{Host: h.Redirect.Host, Code: h.Redirect.Code}
	}
	if a := h.BasicAuth; a != nil {
		r.Auth = &haproxy.Auth{Realm: a.Realm}
		for _, u := range a.Users {
			r.Auth.Users = append(r.Auth.Users, haproxy.User{Name: u.Name, Hash: haproxy.Hash(u.Hash.Reveal())})
		}
	}
	for _, p := range h.Pages {
		r.Pages = append(r.Pages, haproxy.Page{Status: p.Status, Content: p.HTML})
	}
	return r
}

func wantHeaders(e config.HeaderEdits) haproxy.Headers {
	return haproxy.Headers{Delete: e.Delete, Set: fields(e.Set), Add: fields(e.Add)}
}

func fields(list []config.Header) []haproxy.Header {
	var out []haproxy.Header
	for _, h := range list {
		out = append(out, haproxy.Header(h))
	}
	return out
}

// guards reports whether the service keeps clients out by path, whom another
// service on the same host may let in.
func guards(h *config.HTTP) bool {
	return (len(h.Allow) > 0 || len(h.Deny) > 0 || h.BasicAuth != nil) && !slices.Equal(h.Paths, []string{"/"})
}

// standsAlone reports whether the service answers without any endpoint.
func standsAlone(s config.Service) bool { return s.HTTP != nil && s.HTTP.Redirect != nil }

// texts are raw lines without their places.
func texts(lines []config.RawLine) []string {
	var out []string
	for _, l := range lines {
		out = append(out, l.Text)
	}
	return out
}

// checkRaw holds every raw line against what HAProxy takes in its section.
// What is wrong comes with its place, as an error of type [config.Faults].
func checkRaw(cfg *config.Config) error {
	var faults config.Faults
	check := func(section haproxy.Section, lines []config.RawLine) {
		for _, l := range lines {
			if err := haproxy.CheckRaw(section, l.Text); err != nil {
				faults = append(faults, config.Fault{Pos: l.Pos, Path: l.Path, Problem: err.Error()})
			}
		}
	}
	check(haproxy.GlobalSection, cfg.HAProxy.Global)
	check(haproxy.DefaultsSection, cfg.HAProxy.Defaults)
	for _, s := range cfg.Services {
		check(haproxy.BackendSection, s.Raw)
	}
	if len(faults) == 0 {
		return nil
	}
	return faults
}
