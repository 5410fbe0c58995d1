package discovery

import "fmt"

// speaking is c as a service sees it that speaks what want says: of UDP, its
// UDP ports alone. Neither a host's proxy nor a Swarm's mesh stands in for
// them: the one is of TCP, and behind the other a client has no fixed server.
func (c Container) speaking(want Want) (Container, Want) {
	if !want.UDP {
		return c, want
	}
	c.Published, c.Exposed = nil, nil
	if c.UDP != nil {
		c.Published, c.Exposed = c.UDP.Published, c.UDP.Exposed
	}
	if c.Task != nil && len(c.Task.Mesh) > 0 {
		task := *c.Task
		task.Mesh, c.Task = nil, &task
	}
	want.Proxy = Want{}.Proxy
	return c, want
}

func (w Want) protocol() string {
	if w.UDP {
		return "udp"
	}
	return "tcp"
}

// portName is the port as Docker writes it: 53/udp.
func (p place) portName() string { return fmt.Sprintf("%d/%s", p.port, p.want.protocol()) }

// flag is what docker run -p takes for it.
func (p place) flag() string {
	if p.want.UDP {
		return p.portName()
	}
	return fmt.Sprint(p.port)
}
