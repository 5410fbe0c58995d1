package docker

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"golang.org/x/sys/unix"

	"github.com/vipilot/vipilot/discovery"
)

// record is a container with what only its watcher must know.
type record struct {
	discovery.Container
	stopSignal int
	grace      time.Duration // how long after its stop signal it counts as stopping
}

const (
	minGrace  = time.Minute
	graceRoom = 10 * time.Second
	realtime0 = 34 // SIGRTMIN
)

// newRecord takes how the container is stopped, where it says: by which
// signal, and within how many seconds.
func newRecord(c discovery.Container, signal string, timeout *int) record {
	r := record{Container: c, stopSignal: int(unix.SIGTERM), grace: minGrace}
	if n := signalNumber(signal); n > 0 {
		r.stopSignal = n
	}
	if timeout != nil {
		r.grace = max(r.grace, min(time.Duration(*timeout)*time.Second, 24*time.Hour)+graceRoom)
	}
	return r
}

// stopped is r once it has ended: what identifies it stays, nothing else.
func (r record) stopped() record {
	return newRecord(discovery.Container{ID: r.ID, Name: r.Name, Image: r.Image, Labels: r.Labels, State: discovery.Stopped}, "", nil)
}

// isStop reports whether a kill event's signal asks the container to end.
func (r record) isStop(signal string) bool {
	n := signalNumber(signal)
	return n > 0 && (n == r.stopSignal || n == int(unix.SIGKILL) || n == int(unix.SIGTERM))
}

// signalNumber reads a signal as Docker writes it: 15, TERM, SIGTERM, RTMIN+3.
func signalNumber(s string) int {
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if above, ok := strings.CutPrefix(name, "RTMIN"); ok {
		n, err := strconv.Atoi(cmp.Or(above, "0"))
		if err != nil || n < 0 {
			return 0
		}
		return realtime0 + n
	}
	return int(unix.SignalNum("SIG" + name))
}

var (
	containerID   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	containerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)
)

func isName(s string) bool { return containerName.MatchString(s) }

// fromInspect reads a container as the engine describes it. drivers are those
// of its networks, by network id. It fails on an answer that no engine gives.
func fromInspect(in inspection, drivers map[string]string) (discovery.Container, error) {
	if in.State == nil || in.Config == nil {
		return discovery.Container{}, fmt.Errorf("inspect container: the engine's answer has no state or no configuration")
	}
	c, err := identify(in.ID, in.Name)
	if err != nil {
		return discovery.Container{}, err
	}
	c.Image, c.Labels = in.Config.Image, in.Config.Labels
	switch {
	case in.State.Status == container.StatePaused:
		c.State = discovery.Paused
	case in.State.Status == container.StateRunning:
		c.State = discovery.Running
	default:
		return c, nil
	}
	if in.State.Health != nil {
		c.Health = toHealth(in.State.Health.Status)
	}
	// An unreadable time is the zero time: older than all others.
	c.StartedAt, _ = time.Parse(time.RFC3339Nano, in.State.StartedAt)
	mode := ""
	if in.HostConfig != nil {
		mode = in.HostConfig.NetworkMode
	}
	var networks map[string]*network.EndpointSettings
	if in.NetworkSettings != nil {
		networks = in.NetworkSettings.Networks
	}
	c.HostMode, c.NoNetwork = specialMode(mode, networks)
	c.Networks = attachments(networks, drivers)
	c.Published, c.Exposed = published(in, "tcp"), exposed(in, "tcp")
	c.UDP = udpPorts(published(in, "udp"), exposed(in, "udp"))
	return c, nil
}

// identify starts a stopped container from its id and name, once both are
// known to be harmless wherever they are written.
func identify(id, name string) (discovery.Container, error) {
	name = strings.TrimPrefix(name, "/")
	if !containerID.MatchString(id) || !isName(name) {
		return discovery.Container{}, fmt.Errorf("read container %.70q: id %.70q or name is not of Docker's form", name, id)
	}
	return discovery.Container{ID: id, Name: name, State: discovery.Stopped}, nil
}

func toHealth(s string) discovery.Health {
	switch s {
	case container.Starting:
		return discovery.Starting
	case container.Healthy:
		return discovery.Healthy
	case container.Unhealthy:
		return discovery.Unhealthy
	}
	return discovery.NoHealth
}

// specialMode says whether a container is in the host's network or in none. A
// container created without network may have been connected to one since.
func specialMode(mode string, networks map[string]*network.EndpointSettings) (host, none bool) {
	_, onHost := networks["host"]
	_, onNone := networks["none"]
	return mode == "host" || onHost, onNone || mode == "none" && len(networks) == 0
}

func attachments(networks map[string]*network.EndpointSettings, drivers map[string]string) []discovery.Attachment {
	var list []discovery.Attachment
	for _, name := range slices.Sorted(maps.Keys(networks)) {
		n := networks[name]
		if n == nil || name == "host" || name == "none" || !isName(name) {
			continue
		}
		a := discovery.Attachment{Name: name, Driver: drivers[n.NetworkID], IPv4: address(n.IPAddress, true), IPv6: address(n.GlobalIPv6Address, false)}
		ip, bits := a.IPv4, n.IPPrefixLen
		if !ip.IsValid() {
			ip, bits = a.IPv6, n.GlobalIPv6PrefixLen
		}
		if subnet, err := ip.Prefix(bits); err == nil {
			a.Subnet = subnet
		}
		list = append(list, a)
	}
	return list
}

// address reads one that a container can be reached at, in the family wanted;
// anything else is the invalid address.
func address(s string, v4 bool) netip.Addr {
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.Zone() != "" || ip.Is4() != v4 || ip.Is4In6() || ip.IsUnspecified() || ip.IsMulticast() || ip.IsLoopback() {
		return netip.Addr{}
	}
	return ip
}

// portOf reads the number of "8080/tcp" for the protocol tcp; 0 is anything else.
func portOf(s, protocol string) uint16 {
	number, proto, _ := strings.Cut(s, "/")
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || cmp.Or(proto, "tcp") != protocol {
		return 0
	}
	return uint16(n)
}

// udpPorts are those of UDP; nil when there are none.
func udpPorts(published []discovery.Published, exposed []uint16) *discovery.UDPPorts {
	if len(published) == 0 && len(exposed) == 0 {
		return nil
	}
	return &discovery.UDPPorts{Published: published, Exposed: exposed}
}

func published(in inspection, protocol string) []discovery.Published {
	if in.NetworkSettings == nil {
		return nil
	}
	var list []discovery.Published
	for p, bindings := range in.NetworkSettings.Ports {
		for _, b := range bindings {
			n, err := strconv.ParseUint(b.HostPort, 10, 16)
			if err != nil {
				continue
			}
			list = appendPublished(list, portOf(p, protocol), b.HostIP, uint16(n))
		}
	}
	return sortPublished(list)
}

// appendPublished adds one published port unless a part of it is void.
func appendPublished(list []discovery.Published, port uint16, hostIP string, hostPort uint16) []discovery.Published {
	var ip netip.Addr
	if hostIP != "" {
		var err error
		if ip, err = netip.ParseAddr(hostIP); err != nil {
			return list
		}
	}
	if port == 0 || hostPort == 0 {
		return list
	}
	return append(list, discovery.Published{Port: port, HostIP: ip, HostPort: hostPort})
}

func sortPublished(list []discovery.Published) []discovery.Published {
	slices.SortFunc(list, func(a, b discovery.Published) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), a.HostIP.Compare(b.HostIP), cmp.Compare(a.HostPort, b.HostPort))
	})
	return slices.Compact(list)
}

func exposed(in inspection, protocol string) []uint16 {
	var ports []uint16
	for p := range in.Config.ExposedPorts {
		ports = append(ports, portOf(p, protocol))
	}
	if in.NetworkSettings != nil {
		for p := range in.NetworkSettings.Ports {
			ports = append(ports, portOf(p, protocol))
		}
	}
	slices.Sort(ports)
	ports = slices.Compact(ports)
	if len(ports) > 0 && ports[0] == 0 {
		ports = ports[1:]
	}
	return ports
}
