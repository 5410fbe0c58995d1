package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// How the watch looks: often, and with patience for a machine that is busy.
const (
	watchEvery = 10 * time.Millisecond
	probeEvery = 25 * time.Millisecond
	probeWait  = 400 * time.Millisecond
)

// Watch stands beside the router and compares what it is told with what is
// true: while the router's kernel sends a VIP to a node, a request over that
// node must be answered. Requests go past the router's choice, to each node.
type Watch struct {
	router *Router
	vip    netip.Addr
	site   string
	stop   context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	routed map[netip.Addr]bool // the next hops
	absent time.Time           // since when no route is there; zero = there is one
	seen   Sight
}

// Sight is what a watch has seen since it was last asked.
type Sight struct {
	Dark   time.Duration // longest time a node that did not answer had the route
	Hop    netip.Addr    // which node that was
	Reason string        // and how it failed
	Absent time.Duration // longest time without any route
	Probes int
}

// WatchVIP begins to watch one IPv4 VIP, where site is answered, until Stop.
func (l *Lab) WatchVIP(ctx context.Context, vip netip.Addr, site string) (*Watch, error) {
	ctx, stop := context.WithCancel(ctx)
	w := &Watch{router: l.Router, vip: vip, site: site, stop: stop, routed: make(map[netip.Addr]bool)}
	handle, err := w.prepare(ctx, l.Nodes())
	if err != nil {
		stop()
		return nil, fmt.Errorf("watch %s: %w", vip, err)
	}
	w.done.Go(func() { w.followRoutes(ctx, handle) })
	for _, n := range l.Nodes() {
		w.done.Go(func() { w.probeHop(ctx, netip.MustParseAddr(n.Address)) })
	}
	return w, nil
}

// Stop ends the watch.
func (w *Watch) Stop() {
	w.stop()
	w.done.Wait()
}

// Take is what was seen since the last Take.
func (w *Watch) Take() Sight {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen
	if !w.absent.IsZero() {
		seen.Absent = max(seen.Absent, time.Since(w.absent))
	}
	w.seen = Sight{}
	return seen
}

// mark names the way over one node.
func mark(hop netip.Addr) int { return int(hop.As4()[3]) }

// prepare gives the router a way over each node for marked packets, and opens
// its kernel's routes.
func (w *Watch) prepare(ctx context.Context, nodes []*Node) (handle *netlink.Handle, err error) {
	for _, n := range nodes {
		m := mark(netip.MustParseAddr(n.Address))
		_, _ = w.router.Run(ctx, "ip", "rule", "del", "fwmark", fmt.Sprint(m))
		err := w.router.ip(ctx, fmt.Sprintf("rule add fwmark %d lookup %d", m, m),
			fmt.Sprintf("route replace default via %s table %d", n.Address, m))
		if err != nil {
			return nil, err
		}
	}
	err = w.router.Do(func() (err error) {
		handle, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	return handle, err
}

func (w *Watch) followRoutes(ctx context.Context, handle *netlink.Handle) {
	defer handle.Close()
	dst := &net.IPNet{IP: w.vip.AsSlice(), Mask: net.CIDRMask(32, 32)}
	for ctx.Err() == nil {
		routes, err := handle.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: dst, Table: unix.RT_TABLE_MAIN},
			netlink.RT_FILTER_DST|netlink.RT_FILTER_TABLE)
		if err == nil {
			w.take(routes)
		}
		pause(ctx, watchEvery)
	}
}

// take notes where the router sends the VIP now.
func (w *Watch) take(routes []netlink.Route) {
	now, hops := time.Now(), make(map[netip.Addr]bool)
	for _, r := range routes {
		for _, gateway := range append(gateways(r.MultiPath), r.Gw) {
			if hop, ok := netip.AddrFromSlice(gateway); ok {
				hops[hop.Unmap()] = true
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.routed = hops
	switch {
	case len(hops) == 0 && w.absent.IsZero():
		w.absent = now
	case len(hops) > 0 && !w.absent.IsZero():
		w.seen.Absent = max(w.seen.Absent, now.Sub(w.absent))
		w.absent = time.Time{}
	}
}

func gateways(paths []*netlink.NexthopInfo) (all []net.IP) {
	for _, p := range paths {
		all = append(all, p.Gw)
	}
	return all
}

// leadsTo tells whether the router sends the VIP to a node.
func (w *Watch) leadsTo(hop netip.Addr) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.routed[hop]
}

// probeHop asks one node whenever it has the route. A node is dark from the
// first request that failed, or from the route if that came later.
func (w *Watch) probeHop(ctx context.Context, hop netip.Addr) {
	var dark time.Time
	for ; ctx.Err() == nil; pause(ctx, probeEvery) {
		if !w.leadsTo(hop) {
			dark = time.Time{}
			continue
		}
		asked := time.Now()
		err := w.probe(ctx, hop)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			dark = time.Time{}
			w.note(Sight{Probes: 1})
			continue
		case dark.IsZero():
			dark = asked
		}
		reason := kind(err)
		if errors.Is(err, context.Canceled) {
			reason = "no answer before the route was gone"
		}
		w.note(Sight{Probes: 1, Dark: time.Since(dark), Hop: hop, Reason: reason})
	}
}

func (w *Watch) note(s Sight) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen.Probes += s.Probes
	if s.Dark > w.seen.Dark {
		w.seen.Dark, w.seen.Hop, w.seen.Reason = s.Dark, s.Hop, s.Reason
	}
}

// probe is one request over one node. It ends with the route: what happens
// after that is not the watch's matter.
func (w *Watch) probe(ctx context.Context, hop netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, probeWait)
	defer cancel()
	go func() {
		for pause(ctx, watchEvery) {
			if !w.leadsTo(hop) {
				cancel()
			}
		}
	}()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return w.router.dialMarked(ctx, network, address, mark(hop))
		}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.vip.String()+"/", nil)
	if err != nil {
		return err
	}
	req.Host = w.site
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 500 {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// pause reports whether ctx still lives after d.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
