package docker

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/swarm"

	"github.com/vipilot/vipilot/discovery"
)

// Ports of UDP are kept apart from those of TCP, from whichever answer.
func TestUDPPorts(t *testing.T) {
	var in inspection
	id := strings.Repeat("a", 64)
	err := json.Unmarshal([]byte(`{"Id":"`+id+`","Name":"/dns","State":{"Status":"running"},
		"Config":{"Image":"i","ExposedPorts":{"53/tcp":{},"53/udp":{},"54/udp":{},"99/sctp":{}}},
		"NetworkSettings":{"Ports":{"53/udp":[{"HostIp":"0.0.0.0","HostPort":"5353"}],"54/udp":null}}}`), &in)
	if err != nil {
		t.Fatal(err)
	}
	c, err := fromInspect(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	published := []discovery.Published{{Port: 53, HostPort: 5353}}
	published[0].HostIP = c.UDP.Published[0].HostIP
	want := &discovery.UDPPorts{Exposed: []uint16{53, 54}, Published: published}
	if !reflect.DeepEqual(c.UDP, want) || published[0].HostIP.String() != "0.0.0.0" || len(c.Published) != 0 || !reflect.DeepEqual(c.Exposed, []uint16{53}) {
		t.Errorf("udp %+v, tcp %v %v", c.UDP, c.Published, c.Exposed)
	}
	known := newRecord(c, "", nil)
	line := container.Summary{ID: id, Names: []string{"/dns"}, State: "running", Status: "Up", Ports: []container.Port{
		{IP: "0.0.0.0", PrivatePort: 53, PublicPort: 5353, Type: "udp"}, {PrivatePort: 53, Type: "tcp"},
	}}
	if !agrees(line, known) {
		t.Error("the list says the same and does not agree")
	}
	line.Ports[0].PublicPort = 5354
	if agrees(line, known) {
		t.Error("another UDP port agrees")
	}
	udp := udpOf([]swarm.PortConfig{
		{Protocol: swarm.PortConfigProtocolUDP, TargetPort: 53, PublishedPort: 5353, PublishMode: swarm.PortConfigPublishModeHost},
		{Protocol: swarm.PortConfigProtocolUDP, TargetPort: 54, PublishedPort: 5354, PublishMode: swarm.PortConfigPublishModeIngress},
		{Protocol: swarm.PortConfigProtocolTCP, TargetPort: 55, PublishedPort: 5355, PublishMode: swarm.PortConfigPublishModeHost},
	})
	if udp == nil || len(udp.Published) != 1 || udp.Published[0].HostPort != 5353 {
		t.Errorf("of a Swarm: %+v", udp)
	}
}
