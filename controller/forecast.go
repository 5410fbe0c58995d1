package controller

import (
	"cmp"
	"maps"
	"slices"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/status"
)

// Forecast says what is served after the failures. It is pure: the decisions
// of all nodes that are left, put together.
func Forecast(cfg *config.Config, view View, failures ...Failure) (status.Forecast, error) {
	before, err := foresee(cfg, view)
	if err != nil {
		return status.Forecast{}, err
	}
	return before.compare(failures), nil
}

// Survey tries every single failure.
func Survey(cfg *config.Config, view View) (status.Survey, error) {
	survey := status.Survey{Failures: []status.SingleFailure{}}
	before, err := foresee(cfg, view)
	if err != nil {
		return survey, err
	}
	for _, failure := range Failures(cfg) {
		f := before.compare([]Failure{failure})
		one := status.SingleFailure{Failed: failure.String(), Lost: f.Lost, Moved: []string{}}
		for _, name := range slices.Sorted(maps.Keys(f.VIPs)) {
			if v := f.VIPs[name]; v.HA == string(config.VRRP) && len(v.Holders) > 0 && !slices.Equal(v.Holders, v.Before) {
				one.Moved = append(one.Moved, name)
			}
		}
		if len(one.Lost) > 0 {
			survey.Lossy++
		}
		survey.Failures = append(survey.Failures, one)
	}
	return survey, nil
}

// compare foresees the failures and tells the outcome beside p's.
func (p *prospect) compare(failures []Failure) status.Forecast {
	lost := losses{nodes: make(map[string]bool), hosts: make(map[string]bool), peers: make(map[string]bool)}
	f := status.Forecast{
		Failed: []string{}, Lost: []string{},
		VIPs: make(map[string]status.VIPForecast), Services: make(map[string]status.ServiceForecast),
	}
	for _, one := range failures {
		f.Failed = append(f.Failed, one.String())
		map[string]map[string]bool{"node": lost.nodes, "host": lost.hosts, "peer": lost.peers}[one.Kind][one.Name] = true
	}
	after := p.without(lost)
	for _, vip := range p.cfg.VIPs {
		f.VIPs[vip.Name] = after.tellVIP(vip, p.holders(vip))
	}
	for _, service := range p.cfg.Services {
		was, is := p.tellService(service), after.tellService(service)
		is.Of = len(was.Endpoints)
		f.Services[service.Name] = is
		if was.Serves && !is.Serves {
			f.Lost = append(f.Lost, service.Name)
		}
	}
	slices.Sort(f.Lost)
	f.Nodes, f.Hosts = shares(p, after)
	return f
}

func (p *prospect) tellVIP(vip config.VIP, before []string) status.VIPForecast {
	holders := p.holders(vip)
	heard := p.audience(vip, holders)
	prefixes := make(map[string][]string)
	for node := range heard {
		told := p.want[node].Routing.Prefixes
		if ospf := p.want[node].Routing.OSPF; ospf != nil {
			told = slices.Concat(told, ospf.Prefixes)
		}
		for _, prefix := range told {
			if text := prefix.Prefix.String(); prefix.VIP == vip.Name && !slices.Contains(prefixes[node], text) {
				prefixes[node] = append(prefixes[node], text)
			}
		}
	}
	return status.VIPForecast{
		HA: string(vip.HA), Holders: holders, Before: before, Announced: heard, Prefixes: prefixes, Reason: p.unreachable(vip, holders, heard),
	}
}

func (p *prospect) tellService(service config.Service) status.ServiceForecast {
	s := status.ServiceForecast{VIP: service.VIP, Endpoints: []string{}}
	ready := p.ready(service)
	for _, m := range ready {
		s.Endpoints = append(s.Endpoints, m.Name)
	}
	vip, _ := p.cfg.VIP(service.VIP)
	holders := p.holders(vip)
	s.Reason = p.unreachable(vip, holders, p.audience(vip, holders))
	if s.Reason != "" {
		s.Reason = "VIP " + vip.Name + ": " + s.Reason
	}
	if len(ready) == 0 {
		s.Reason = cmp.Or(s.Reason, "no endpoint is left")
	}
	s.Serves = s.Reason == ""
	return s
}
