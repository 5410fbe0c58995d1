package fakedocker

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/client"
)

// TestDockerClient reads the engine with Docker's own client.
func TestDockerClient(t *testing.T) {
	e := New("app1")
	e.Run(Container{Name: "web-1", Service: "web", Port: 20001})
	e.Run(Container{Name: "web-2", Service: "web", Port: 20002})
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	api, err := client.NewClientWithOpts(client.WithHost(strings.Replace(server.URL, "http", "tcp", 1)), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { api.Close() })

	list, err := api.ContainerList(t.Context(), container.ListOptions{All: true})
	if err != nil || len(list) != 2 || api.ClientVersion() != "1.41" {
		t.Fatalf("version %s, list %v, err %v", api.ClientVersion(), list, err)
	}
	addresses := make(map[string]bool)
	for _, line := range list {
		full, err := api.ContainerInspect(t.Context(), line.ID)
		if err != nil {
			t.Fatal(err)
		}
		port := full.NetworkSettings.Ports["8080/tcp"][0].HostPort
		if full.ID != line.ID || full.Name != line.Names[0] || full.Config.Labels["app"] != "web" || port != "2000"+full.Name[len("/web-"):] {
			t.Errorf("%s: id %s, labels %v, port %s", full.Name, full.ID, full.Config.Labels, port)
		}
		if started, err := time.Parse(time.RFC3339Nano, full.State.StartedAt); err != nil || time.Since(started) > time.Minute {
			t.Errorf("%s started at %s (%v)", full.Name, full.State.StartedAt, err)
		}
		addresses[full.NetworkSettings.Networks["bridge"].IPAddress] = true
	}
	if len(addresses) != 2 {
		t.Errorf("addresses %v", addresses)
	}

	stream, failed := api.Events(t.Context(), events.ListOptions{})
	e.Signal("web-1")
	e.Stop("web-1")
	for _, want := range []events.Action{"kill", "die", "destroy"} {
		select {
		case m := <-stream:
			if m.Action != want || m.Actor.Attributes["name"] != "web-1" || len(m.Actor.ID) != 64 || m.TimeNano == 0 {
				t.Errorf("event %+v, want %s", m, want)
			}
		case err := <-failed:
			t.Fatal(err)
		case <-time.After(time.Minute):
			t.Fatalf("no event %s", want)
		}
	}
	if got := e.Served(); got != (Served{Lists: 1, Inspections: 2, Streams: 1}) {
		t.Errorf("served %+v", got)
	}
}
