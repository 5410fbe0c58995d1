package controller

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/internal/rhythm"
	"github.com/vipilot/vipilot/status"
)

// How often other nodes are asked how they are, for the page, and how long
// they may take to answer.
const (
	nodesInterval = 30 * time.Second
	nodesTimeout  = 2 * time.Second
)

// watchNodes keeps what the other nodes say of themselves, until ctx ends: for
// people alone, no decision depends on it. Only nodes that say where
// (nodes.<name>.status, by default
// port 9890 of the node's address) are asked.
func (l *loop) watchNodes(ctx context.Context) error {
	if l.opts.Host != "" {
		return nil // a host's proxy knows no nodes
	}
	var last map[string]status.Node
	for {
		var asked []config.Node
		if cfg := l.newest.Load(); cfg != nil {
			asked = slices.DeleteFunc(slices.Clone(cfg.Nodes), func(n config.Node) bool { return n.Name == l.opts.Node || n.Status == "" })
		}
		limited, cancel := context.WithTimeout(ctx, nodesTimeout)
		heard := l.hearNodes(limited, asked, last)
		cancel()
		if ctx.Err() == nil && !reflect.DeepEqual(heard, last) {
			last = heard
			l.send(ctx, event{cause: "another node reports", fold: func() { l.report.nodes = heard }})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rhythm.Next(nodesInterval)):
		}
	}
}

// hearNodes asks all at once, until ctx ends.
func (l *loop) hearNodes(ctx context.Context, nodes []config.Node, before map[string]status.Node) map[string]status.Node {
	var mu sync.Mutex
	var wait sync.WaitGroup
	heard := make(map[string]status.Node)
	for _, n := range nodes {
		wait.Go(func() {
			said := hearNode(ctx, n, before[n.Name].State)
			mu.Lock()
			defer mu.Unlock()
			heard[n.Name] = said
		})
	}
	wait.Wait()
	if len(heard) == 0 {
		return nil
	}
	return heard
}

// hearNode asks one. Silence is news only from a node that has answered before:
// status listeners are on loopback by default.
func hearNode(ctx context.Context, n config.Node, before string) status.Node {
	client := status.NewClient(n.Status)
	defer client.Close()
	r, err := client.Node(ctx)
	if err != nil || r.Node != n.Name {
		if before == "" || before == "unknown" {
			return status.Node{State: "unknown"}
		}
		return status.Node{State: "unreachable"}
	}
	said := status.Node{State: "not ready", Stage: r.Stage, Revision: r.Config.Revision, VIPs: make(map[string]string)}
	if r.Ready {
		said.State = "ready"
	}
	for name, v := range r.VIPs {
		said.VIPs[name] = v.Role
	}
	return said
}

// reportNodes are all declared nodes with the VIPs that each may carry.
func (l *loop) reportNodes(r *status.Report) map[string]status.Node {
	if l.in.Config == nil || l.in.Tier != nil {
		return nil
	}
	nodes := make(map[string]status.Node)
	for _, n := range l.in.Config.Nodes {
		one := status.Node{State: "unknown"}
		if heard, ok := l.report.nodes[n.Name]; ok {
			one = heard
		}
		if n.Name == l.in.Node {
			one = l.ownNode(r)
		}
		roles := make(map[string]string)
		for _, v := range l.in.Config.VIPs {
			if slices.Contains(v.Nodes, n.Name) {
				roles[v.Name] = one.VIPs[v.Name]
			}
		}
		one.VIPs = roles
		if n.Address.IsValid() {
			one.Address = n.Address.String()
		}
		nodes[n.Name] = one
	}
	return nodes
}

func (l *loop) ownNode(r *status.Report) status.Node {
	one := status.Node{Here: true, State: "not ready", Stage: r.Stage, Revision: r.Config.Revision, VIPs: make(map[string]string)}
	for name, v := range r.VIPs {
		one.VIPs[name] = v.Role
	}
	if r.Ready {
		one.State = "ready"
	}
	return one
}
