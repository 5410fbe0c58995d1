package docker

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/swarm"

	"github.com/vipilot/vipilot/discovery"
)

// swarmID is what Swarm gives its objects as names.
var swarmID = regexp.MustCompile(`^[0-9a-z]{1,64}$`)

// service is what its tasks have in common.
type service struct {
	name   string
	own    map[string]string     // its own labels
	spec   map[string]string     // those that it wants on its containers
	labels map[string]string     // both, and its name
	host   []discovery.Published // published on the task's node
	mesh   []discovery.Published // published on every node
	target []uint16              // ports in the container that are published in either way
	udp    *discovery.UDPPorts   // published on the task's node; nil = none
}

// newService reads a service; nil when it is none that a manager would give.
func newService(in swarm.Service) *service {
	if !swarmID.MatchString(in.ID) || !isName(in.Spec.Name) {
		return nil
	}
	s := &service{name: in.Spec.Name, own: in.Spec.Labels}
	if c := in.Spec.TaskTemplate.ContainerSpec; c != nil {
		s.spec = c.Labels
	}
	s.labels = s.with(s.spec)
	s.udp = udpOf(in.Endpoint.Ports)
	for _, p := range in.Endpoint.Ports {
		port := publishedPort(p, swarm.PortConfigProtocolTCP)
		if port.Port == 0 {
			continue
		}
		s.target = append(s.target, port.Port)
		switch {
		case port.HostPort == 0:
		case p.PublishMode == swarm.PortConfigPublishModeHost:
			s.host = append(s.host, port)
		default:
			s.mesh = append(s.mesh, port)
		}
	}
	slices.Sort(s.target)
	s.target = slices.Compact(s.target)
	s.host, s.mesh = sortPublished(s.host), sortPublished(s.mesh)
	return s
}

// with merges labels: the service's own count more than its containers', and
// nothing can give it another's name.
func (s *service) with(container map[string]string) map[string]string {
	labels := make(map[string]string, len(s.own)+len(container)+1)
	maps.Copy(labels, container)
	maps.Copy(labels, s.own)
	labels[discovery.SwarmLabel] = s.name
	return labels
}

// udpOf are the UDP ports that a node passes on to a task of its own.
func udpOf(ports []swarm.PortConfig) *discovery.UDPPorts {
	published := hostPorts(ports, swarm.PortConfigProtocolUDP)
	var exposed []uint16
	for _, p := range published {
		exposed = append(exposed, p.Port)
	}
	return udpPorts(published, exposed)
}

// hostPorts are the ports of a protocol that a node passes on to a task of its
// own, one for each port of the task, sorted. The engine names each for IPv4 and
// then for IPv6, without saying which, and they may differ: where another program
// had the port in the one family only. The first is IPv4's.
func hostPorts(ports []swarm.PortConfig, protocol swarm.PortConfigProtocol) []discovery.Published {
	var list []discovery.Published
	for _, p := range ports {
		port := publishedPort(p, protocol)
		isSecond := slices.ContainsFunc(list, func(first discovery.Published) bool { return first.Port == port.Port })
		if port.Port != 0 && port.HostPort != 0 && p.PublishMode == swarm.PortConfigPublishModeHost && !isSecond {
			list = append(list, port)
		}
	}
	return sortPublished(list)
}

// publishedPort reads a port of a protocol; the zero value is anything else.
func publishedPort(p swarm.PortConfig, protocol swarm.PortConfigProtocol) discovery.Published {
	if cmp.Or(p.Protocol, swarm.PortConfigProtocolTCP) != protocol || p.TargetPort > 65535 || p.PublishedPort > 65535 {
		return discovery.Published{}
	}
	return discovery.Published{Port: uint16(p.TargetPort), HostPort: uint16(p.PublishedPort)}
}

// hasEnded reports whether a task will never run again.
func hasEnded(t swarm.Task) bool {
	switch t.Status.State {
	case swarm.TaskStateComplete, swarm.TaskStateShutdown, swarm.TaskStateFailed, swarm.TaskStateRejected, swarm.TaskStateRemove, swarm.TaskStateOrphaned:
		return true
	}
	return false
}

// fold makes a view of the Swarm. It gives the last one again if nothing has
// changed, and else the last one's nodes where they have not.
func (m *manager) fold(tasks []swarm.Task, at time.Time) *discovery.Swarm {
	on := make(map[string][]discovery.Container)
	for _, t := range tasks {
		if c, ok := m.container(t); ok {
			on[t.NodeID] = append(on[t.NodeID], c)
		}
	}
	old := make(map[string]*discovery.SwarmNode)
	if m.seen != nil && m.seen.ID == m.cluster {
		for _, n := range m.seen.Nodes {
			old[n.ID] = n
		}
	}
	fresh := &discovery.Swarm{ID: m.cluster, At: at}
	add := func(n discovery.SwarmNode) {
		n.Tasks = on[n.ID]
		slices.SortFunc(n.Tasks, byName)
		if known := old[n.ID]; known != nil && reflect.DeepEqual(*known, n) {
			fresh.Nodes = append(fresh.Nodes, known)
		} else {
			fresh.Nodes = append(fresh.Nodes, &n)
		}
	}
	for _, n := range m.nodes {
		if swarmID.MatchString(n.ID) {
			add(newNode(n))
		}
	}
	if len(on[""]) > 0 {
		add(discovery.SwarmNode{})
	}
	slices.SortFunc(fresh.Nodes, func(a, b *discovery.SwarmNode) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	if m.seen != nil && m.seen.ID == fresh.ID && slices.Equal(m.seen.Nodes, fresh.Nodes) {
		return m.seen
	}
	return fresh
}

func newNode(in swarm.Node) discovery.SwarmNode {
	n := discovery.SwarmNode{
		ID: in.ID, Name: in.Description.Hostname,
		Down: in.Status.State == swarm.NodeStateDown, Drained: in.Spec.Availability == swarm.NodeAvailabilityDrain,
	}
	if !isName(n.Name) {
		n.Name = in.ID
	}
	n.Address = nodeAddress(in.Status.Addr)
	if in.ManagerStatus != nil && !n.Address.IsValid() {
		// A manager sees itself as 0.0.0.0 or 127.0.0.1 where it was not told better.
		if a, err := netip.ParseAddrPort(in.ManagerStatus.Addr); err == nil {
			n.Address = nodeAddress(a.Addr().String())
		}
	}
	return n
}

func nodeAddress(s string) netip.Addr {
	if a := address(s, true); a.IsValid() {
		return a
	}
	return address(s, false)
}

// taskName is a task's name as Docker shows it: web.1, of a global service agent.NODE.
func (m *manager) taskName(t swarm.Task) string {
	name := t.ServiceID
	if s := m.services[t.ServiceID]; s != nil {
		name = s.name
	}
	if t.Slot > 0 {
		return name + "." + strconv.Itoa(t.Slot)
	}
	return name + "." + t.NodeID
}

// container reads a task; false when it has ended, or is of no service.
func (m *manager) container(t swarm.Task) (discovery.Container, bool) {
	s := m.services[t.ServiceID]
	if s == nil || !swarmID.MatchString(t.ID) || t.Spec.ContainerSpec == nil || hasEnded(t) || t.NodeID != "" && !swarmID.MatchString(t.NodeID) {
		return discovery.Container{}, false
	}
	c := discovery.Container{
		ID: t.ID, Name: m.taskName(t), Image: t.Spec.ContainerSpec.Image, Labels: s.labels,
		StartedAt: t.CreatedAt, Exposed: s.target, Task: &discovery.Task{ID: t.ID, Service: s.name, Mesh: s.mesh},
	}
	if !maps.Equal(t.Spec.ContainerSpec.Labels, s.spec) {
		c.Labels = s.with(t.Spec.ContainerSpec.Labels)
	}
	id := ""
	if t.Status.ContainerStatus != nil && containerID.MatchString(t.Status.ContainerStatus.ContainerID) {
		id = t.Status.ContainerStatus.ContainerID
	}
	wanted := t.DesiredState == swarm.TaskStateRunning || t.DesiredState == swarm.TaskStateReady || t.DesiredState == swarm.TaskStateAccepted
	switch {
	case t.Status.State != swarm.TaskStateRunning || id == "":
		if !wanted {
			return discovery.Container{}, false // it never served
		}
		c.State = discovery.Pending
		c.Task.Note = pendingNote(t, m.failures[c.Name])
		return c, true
	case wanted:
		c.State = discovery.Running
	default:
		c.State = discovery.Stopping
	}
	c.ID = id
	c.Networks, c.HostMode = taskNetworks(t)
	c.Published = taskPorts(t, s)
	if c.UDP = udpOf(t.Status.PortStatus.Ports); c.UDP == nil {
		c.UDP = s.udp
	}
	return c, true
}

// pendingNote says what a task waits for.
func pendingNote(t swarm.Task, failure string) string {
	note := fmt.Sprintf("the task is %.20s", printable(string(t.Status.State)))
	if t.Status.Err != "" {
		note += ": " + printable(t.Status.Err)
	}
	if failure != "" {
		note += "; the one before it failed: " + printable(failure)
	}
	return note
}

// printable is a text of somebody else's on one line, cut.
func printable(s string) string {
	const long = 120
	text := []rune(strings.ToValidUTF8(strings.Join(strings.Fields(s), " "), "?"))
	if len(text) > long {
		text = append(text[:long], '…')
	}
	for i, r := range text {
		if !strconv.IsPrint(r) {
			text[i] = '?'
		}
	}
	return string(text)
}

// taskNetworks are the networks of a running task. One that names none is on
// the bridge of its node, with an address that only its engine knows.
func taskNetworks(t swarm.Task) (list []discovery.Attachment, host bool) {
	for _, n := range t.NetworksAttachments {
		name := n.Network.Spec.Name
		if name == "host" || n.Network.DriverState.Name == "host" {
			return nil, true
		}
		if !isName(name) || name == "none" {
			continue
		}
		a := discovery.Attachment{Name: name, Driver: n.Network.DriverState.Name}
		for _, text := range n.Addresses {
			prefix, err := netip.ParsePrefix(text)
			if err != nil {
				continue
			}
			if v4 := address(prefix.Addr().String(), true); v4.IsValid() && !a.IPv4.IsValid() {
				a.IPv4, a.Subnet = v4, prefix.Masked()
			} else if v6 := address(prefix.Addr().String(), false); v6.IsValid() && !a.IPv6.IsValid() {
				a.IPv6 = v6
				if !a.Subnet.IsValid() {
					a.Subnet = prefix.Masked()
				}
			}
		}
		list = append(list, a)
	}
	if len(list) == 0 {
		return []discovery.Attachment{{Name: "bridge", Driver: "bridge"}}, false
	}
	slices.SortFunc(list, func(a, b discovery.Attachment) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(list, func(a, b discovery.Attachment) bool { return a.Name == b.Name }), false
}

// taskPorts are the ports that the task's node gives it; an engine too old to
// tell has those of the service.
func taskPorts(t swarm.Task, s *service) []discovery.Published {
	if ports := hostPorts(t.Status.PortStatus.Ports, swarm.PortConfigProtocolTCP); len(ports) > 0 {
		return ports
	}
	return s.host
}

// changedTasks names a few tasks that are not the same in b as in a, for people.
func changedTasks(a, b *discovery.Swarm) []string {
	const few = 3
	if a == b || a == nil || b == nil {
		return []string{"list"}
	}
	before := make(map[string]discovery.State)
	for _, n := range a.Nodes {
		for _, t := range n.Tasks {
			before[t.Task.ID] = t.State
		}
	}
	var names []string
	for _, n := range b.Nodes {
		for _, t := range n.Tasks {
			if was, ok := before[t.Task.ID]; !ok || was != t.State {
				names = append(names, t.Name+" "+string(t.State))
			}
			delete(before, t.Task.ID)
		}
	}
	if len(before) > 0 {
		names = append(names, strconv.Itoa(len(before))+" ended")
	}
	if len(names) > few {
		names = append(names[:few], fmt.Sprintf("and %d more", len(names)-few))
	}
	return names
}
