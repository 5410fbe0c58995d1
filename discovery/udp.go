package discovery

import "fmt"

// speaking is c as a service sees it that speaks what want says: of UDP, its
// UDP ports alone; of a range of ports, without what leads to one of them. Neither a host's proxy nor a Swarm's mesh stands in for
// them: the one is of TCP, and behind the other a client has no fixed server.
func (c Container) speaking(want Want) (Container, Want) {
	if want.Last != 0 {
		want.Proxy, c = Want{}.Proxy, c.offMesh()
	}
	if !want.UDP {
		return c, want
	}
	c.Published, c.Exposed = nil, nil
	if c.UDP != nil {
		c.Published, c.Exposed = c.UDP.Published, c.UDP.Exposed
	}
	want.Proxy = Want{}.Proxy
	return c.offMesh(), want
}

// offMesh is c without its Swarm's mesh.
func (c Container) offMesh() Container {
	if c.Task != nil && len(c.Task.Mesh) > 0 {
		task := *c.Task
		task.Mesh, c.Task = nil, &task
	}
	return c
}

func (w Want) protocol() string {
	if w.UDP {
		return "udp"
	}
	return "tcp"
}

// portName is the port as Docker writes it: 53/udp.
func (p place) portName() string {
	if p.want.Last != 0 {
		return fmt.Sprintf("range %d-%d/%s", p.want.First, p.want.Last, p.want.protocol())
	}
	return fmt.Sprintf("%d/%s", p.port, p.want.protocol())
}

// flag is what docker run -p takes for it.
func (p place) flag() string {
	if p.want.Last != 0 {
		return fmt.Sprintf("%[1]d-%[2]d:%[1]d-%[2]d", p.want.First, p.want.Last)
	}
	if p.want.UDP {
		return p.portName()
	}
	return fmt.Sprint(p.port)
}

// coversRange reports whether b belongs to a publication of the whole range of
// ports, each as itself: clients' ports are the servers'.
func (p place) coversRange(b Published) bool {
	if p.want.Last == 0 {
		return true
	}
	have := make(map[uint16]bool)
	for _, row := range p.c.Published {
		if row.HostIP == b.HostIP && row.HostPort == row.Port {
			have[row.Port] = true
		}
	}
	for port := int(p.want.First); port <= int(p.want.Last); port++ {
		if !have[uint16(port)] {
			return false
		}
	}
	return true
}
