package lab

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestCompose reads deploy/compose.yaml strictly; TestSideCar runs what comes of it.
func TestCompose(t *testing.T) {
	c, err := readCompose(filepath.Join(Source(), "deploy/compose.yaml"), map[string]string{"HAPROXY_IMAGE": "proxy:2"})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.names(), " "); got != "haproxy keepalived sentinel vipilot" {
		t.Errorf("services %s", got)
	}
	args, err := c.run("haproxy")
	want := "run -d --name haproxy --network host --pid host --restart always --cap-drop ALL --cap-add NET_ADMIN --cap-add NET_BIND_SERVICE --cap-add SETUID --cap-add SETGID --cap-add SYS_CHROOT --cap-add KILL " +
		"--security-opt no-new-privileges:true --stop-signal SIGUSR1 --stop-timeout 60 --volume run:/run/vipilot --ulimit nofile=524288 " +
		"--read-only --no-healthcheck proxy:2 exec haproxy"
	if got := strings.Join(args, " "); err != nil || got != want {
		t.Errorf("haproxy is started by\n%s (%v), want\n%s", got, err, want)
	}
	for _, name := range c.names() {
		if args, _ := c.run(name); !strings.Contains(strings.Join(args, " "), " --volume run:/run/vipilot ") {
			t.Errorf("%s does not share the run directory: %v", name, args)
		}
	}
	if len(c.volumes()) != 2 {
		t.Errorf("volumes %v", c.volumes())
	}
}
