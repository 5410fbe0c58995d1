package controller

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/routing/handover"
	"github.com/vipilot/vipilot/status"
)

// othersInterval is how often the other nodes of a VIP with last: keep are asked.
const othersInterval = time.Second

// askOthers keeps Input.Others, until ctx ends: what the other announcers of
// anycast VIPs with last: keep say of their endpoints. Where there is no such
// VIP nobody is asked, and nothing happens until another revision is offered.
func (l *loop) askOthers(ctx context.Context) error {
	tick := time.NewTicker(othersInterval) // costs nothing while nobody receives from it
	defer tick.Stop()
	var last map[string]map[string]bool
	for {
		nodes := partners(l.newest.Load(), l.opts.Node)
		others := l.askAll(ctx, nodes)
		if !maps.EqualFunc(others, last, maps.Equal) {
			last = others
			l.send(ctx, event{cause: "other nodes report", fold: func() { l.in.Others = others }})
		}
		due := tick.C
		if len(nodes) == 0 {
			due = nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.offers:
		case <-due:
		}
	}
}

// partners are the nodes that would announce such a VIP as well.
func partners(cfg *config.Config, node string) []config.Node {
	var list []config.Node
	if cfg == nil {
		return nil
	}
	for _, n := range cfg.Nodes {
		shares := func(v config.VIP) bool {
			return v.HA == config.Anycast && v.Announce != nil && v.Announce.KeepLast && slices.Contains(v.Nodes, n.Name) && slices.Contains(v.Nodes, node)
		}
		if n.Name != node && n.Address.IsValid() && slices.ContainsFunc(cfg.VIPs, shares) {
			list = append(list, n)
		}
	}
	return list
}

// askAll asks all at once. A node that does not answer in time is left out.
func (l *loop) askAll(ctx context.Context, nodes []config.Node) map[string]map[string]bool {
	if len(nodes) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, othersInterval)
	defer cancel()
	words := make([]handover.Word, len(nodes))
	var wait sync.WaitGroup
	for i, n := range nodes {
		wait.Go(func() { words[i], _ = l.askWord(ctx, n) })
	}
	wait.Wait()
	others := make(map[string]map[string]bool)
	for _, word := range words {
		if word.Node != "" {
			others[word.Node] = make(map[string]bool)
		}
		for _, vip := range word.Serving {
			others[word.Node][vip] = true
		}
	}
	return others
}

// servedVIPs are those with a ready endpoint, as a node reports it.
func servedVIPs(r *status.Report) map[string]bool {
	served := make(map[string]bool)
	for _, s := range r.Services {
		if slices.ContainsFunc(s.Endpoints, func(e status.Endpoint) bool { return e.State == "ready" }) {
			served[s.VIP] = true
		}
	}
	return served
}
