package lab

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/vipilot/vipilot/internal/command"
)

// network is the lab's wiring: a switch that is a host with a bridge, one port
// for each host, and the line between client and router.
type network struct{ *Host }

func newNetwork(sw *Host) *network { return &network{Host: sw} }

// lan gives the last byte of each host's address on the switch's network,
// 10.77.0.0/24 and 2001:db8:77::/64.
var lan = map[string]int{"router": 1, "app1": 11, "app2": 12, "app3": 13, "lb1": 21, "lb2": 22}

// sysctls of every host: no waiting for duplicate addresses, no guessing of
// routes, and on the router forwarding with ECMP by connection.
var sysctls = map[string]string{
	"net/ipv6/conf/all/disable_ipv6":     "0",
	"net/ipv6/conf/default/accept_dad":   "0",
	"net/ipv6/conf/default/accept_ra":    "0",
	"net/ipv4/conf/all/rp_filter":        "0",
	"net/ipv4/conf/default/rp_filter":    "0",
	"net/ipv4/fib_multipath_hash_policy": "1",
	"net/ipv6/fib_multipath_hash_policy": "1",
}

// connect lays every cable.
func (n *network) connect(ctx context.Context, l *Lab) error {
	if err := n.tune(l.Client); err != nil {
		return err
	}
	if err := n.ip(ctx, "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0", "link set br0 up"); err != nil {
		return err
	}
	for _, h := range l.hosts() {
		if _, attached := lan[h.Name]; attached {
			if err := n.plug(ctx, h); err != nil {
				return err
			}
		}
	}
	return n.outside(ctx, l.Client, l.Router.Host)
}

// plug gives a host its eth0 with addresses and default routes, and a port of
// the same name as the host on the switch.
func (n *network) plug(ctx context.Context, h *Host) error {
	if err := n.tune(h); err != nil {
		return err
	}
	number := lan[h.Name]
	// The other end of a host that died goes away by itself, but a moment later.
	_ = n.ip(ctx, "link del "+h.Name)
	if err := cable(ctx, n.Host, h.Name, h, "eth0"); err != nil {
		return err
	}
	if err := n.ip(ctx, "link set "+h.Name+" master br0 up"); err != nil {
		return err
	}
	lines := []string{
		"link set lo up",
		fmt.Sprintf("link set eth0 address 02:00:0a:4d:00:%02x", number), // the same after every boot
		"link set eth0 up",
		fmt.Sprintf("addr add 10.77.0.%d/24 dev eth0", number),
		fmt.Sprintf("addr add 2001:db8:77::%d/64 dev eth0 nodad", number),
	}
	if h.Name != "router" {
		lines = append(lines, "route add default via "+RouterAddress, "-6 route add default via 2001:db8:77::1")
	}
	return h.ip(ctx, lines...)
}

// cable joins two hosts. It is laid from outside, where both can be seen.
func cable(ctx context.Context, a *Host, aPort string, b *Host, bPort string) error {
	_, err := command.Run(ctx, "ip", "link", "add", aPort, "netns", a.pid(), "type", "veth", "peer", "name", bPort, "netns", b.pid())
	if err != nil {
		return fmt.Errorf("lay a cable from %s to %s: %w", a.Name, b.Name, err)
	}
	return nil
}

// outside joins the client to the router, on another network than the switch's.
func (n *network) outside(ctx context.Context, client, router *Host) error {
	if err := cable(ctx, router, "wan", client, "eth0"); err != nil {
		return err
	}
	err := router.ip(ctx,
		"link set wan up", "addr add 198.18.0.1/24 dev wan", "addr add 2001:db8:18::1/64 dev wan nodad")
	if err != nil {
		return err
	}
	err = router.sysctl(map[string]string{"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1",
		"net/ipv4/conf/all/send_redirects": "0"})
	if err != nil {
		return err
	}
	return client.ip(ctx, "link set lo up", "link set eth0 up",
		"addr add "+ClientAddress+"/24 dev eth0", "addr add 2001:db8:18::2/64 dev eth0 nodad",
		"route add default via 198.18.0.1", "-6 route add default via 2001:db8:18::1")
}

// port sets a host's port on the switch up or down.
func (n *network) port(ctx context.Context, h *Host, state string) error {
	return n.ip(ctx, "link set "+h.Name+" "+state)
}

func (n *network) tune(h *Host) error { return h.sysctl(sysctls) }

// ip runs each line as an ip command on the host.
func (h *Host) ip(ctx context.Context, lines ...string) error {
	for _, line := range lines {
		if _, err := h.Run(ctx, "ip", strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

// sysctl sets kernel parameters of the host's network.
func (h *Host) sysctl(values map[string]string) error {
	return h.Do(func() error {
		for name, value := range values {
			err := os.WriteFile("/proc/sys/"+name, []byte(value), 0o644)
			if err != nil && !os.IsNotExist(err) {
				return fmt.Errorf("set %s on %s: %w", name, h.Name, err)
			}
		}
		return nil
	})
}
