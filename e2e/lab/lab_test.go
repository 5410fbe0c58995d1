package lab

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// e2e lets a test go on only where the machine may be used: as root, with the
// daemons installed, and asked for.
func e2e(t *testing.T) {
	t.Helper()
	if os.Getenv("VIPILOT_E2E") != "1" {
		t.Skip("set VIPILOT_E2E=1 to run on real daemons (make test does)")
	}
}

func TestLab(t *testing.T) {
	e2e(t)
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	begin := time.Now()
	l, err := New(ctx, Options{Binary: "/bin/true", BGPPassword: "lab"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(l.Close(), l.Leaks()); err != nil {
			t.Error(err)
		}
	})
	t.Logf("up after %v", time.Since(begin).Round(10*time.Millisecond))

	for _, h := range []*Host{l.Client, l.LB1.Host, l.App2.Host} {
		for _, to := range []string{"10.77.0.21", "10.77.0.12", "198.18.0.2", "2001:db8:77::22", "2001:db8:18::2"} {
			if got := reach(ctx, h, to); got != "refused" {
				t.Errorf("%s to %s: %s", h.Name, to, got)
			}
		}
	}
	publishedPort(t, ctx, l)
	if err := l.PowerOff(ctx, l.LB1); err != nil {
		t.Fatal(err)
	}
	short, stop := context.WithTimeout(ctx, 3*time.Second)
	defer stop()
	if got := reach(short, l.Client, l.LB1.Address); got == "refused" {
		t.Error("a node without power answers")
	}
	if err := l.PowerOn(ctx, l.LB1); err != nil {
		t.Fatal(err)
	}
	err = Poll(ctx, Patience, func(context.Context) error { // the switch may take a moment
		if got := reach(ctx, l.Client, l.LB1.Address); got != "refused" {
			return errors.New(got)
		}
		return nil
	})
	if err != nil {
		t.Errorf("client to lb1 after power on: %v", err)
	}
	session, err := l.Router.Session(ctx, l.LB1.Address)
	if err != nil || session.State == "" {
		t.Errorf("session = %+v, %v", session, err)
	}
	if routes, err := l.Router.Routes(ctx); err != nil || len(routes) != 0 {
		t.Errorf("routes = %v, %v", routes, err)
	}
}

// reach says what a host gets from a closed port: "refused" where packets pass.
func reach(ctx context.Context, h *Host, address string) string {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	conn, err := h.Dial(ctx, "tcp", net.JoinHostPort(address, "9"))
	if err != nil {
		return kind(err)
	}
	conn.Close()
	return "open"
}

// publishedPort reaches a container from a node through the port its engine
// publishes, under load.
func publishedPort(t *testing.T, ctx context.Context, l *Lab) {
	t.Helper()
	id, err := l.App1.Launch(ctx, Container{Name: "web-1", Publish: 8080})
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.App1.Docker.ContainerInspect(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	url := "http://10.77.0.11:" + c.NetworkSettings.Ports["8080/tcp"][0].HostPort + "/"
	client := l.LB1.HTTPClient(10*time.Second, false)
	err = Poll(ctx, Patience, func(context.Context) error {
		resp, err := client.Get(url)
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, keepAlive := range []bool{true, false} {
		seen := Load{From: l.Client, URL: url, Rate: 300, KeepAlive: keepAlive, Method: http.MethodPost, Timeout: time.Minute}.Run(ctx, time.Second)
		t.Logf("keep-alive %v: %v", keepAlive, seen)
		if seen.Failed > 0 || seen.OK == 0 || seen.Answers[id[:12]] != seen.OK {
			t.Errorf("answers %v", seen.Answers)
		}
	}
	_, err = client.Get("http://10.77.0.11:81/")
	if err == nil || kind(err) != "refused" {
		t.Errorf("a closed port answers %v", err)
	}
}

// TestKilledLab proves that nothing but files outlives a lab whose process was
// killed, and that Sweep removes those.
func TestKilledLab(t *testing.T) {
	e2e(t)
	if os.Getenv("VIPILOT_LAB_VICTIM") != "" {
		victim(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledLab$", "-test.v")
	cmd.Env = append(os.Environ(), "VIPILOT_LAB_VICTIM=1")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the victim ended with %v:\n%s", err, out)
	}
	_, id, _ := strings.Cut(string(out), "lab=")
	id, _, _ = strings.Cut(id, "\n")
	err = Poll(t.Context(), Patience, func(context.Context) error {
		if left := processes(id); len(left) > 0 {
			return errors.New("processes outlive the lab")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	// A lab of another package's tests may be at it already.
	if err := Poll(t.Context(), Patience, func(context.Context) error { return errors.Join(Sweep(), leaks(id)) }); err != nil {
		t.Error(err)
	}
}

func victim(t *testing.T) {
	l, err := New(t.Context(), Options{Binary: "/bin/true", Kind: "victim"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.App1.Launch(t.Context(), Container{Name: "web-1", Publish: 8080}); err != nil {
		t.Fatal(err)
	}
	if len(processes(l.id)) == 0 || leaks(l.id) == nil {
		t.Fatal("no trace of the lab: the test proves nothing")
	}
	t.Logf("lab=%s", l.id)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
}
