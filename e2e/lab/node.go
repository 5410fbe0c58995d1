package lab

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/vipilot/vipilot/status"
)

// Node is a load-balancer machine, on which vipilot runs.
type Node struct {
	*Host
	Address  string
	RunDir   string
	StateDir string
	Program  string // vipilot, where it is not the lab's own

	lab        *Lab
	as         string // the flag that says what it is: --node or --host
	controller *Daemon
	clock      *clock // nil = the machine's
}

func (l *Lab) node(name string) *Node {
	h := l.host(name)
	return &Node{Host: h, lab: l, as: "--node", Address: fmt.Sprintf("10.77.0.%d", lan[name]),
		RunDir: filepath.Join(h.dir, "run"), StateDir: filepath.Join(h.dir, "state")}
}

// StartVipilot starts the controller on the lab's repository and waits until
// its status can be read. Flags are added to the usual ones.
func (n *Node) StartVipilot(ctx context.Context, flags ...string) error {
	args := append([]string{"run", "--config", n.lab.RepoDir(), n.as, n.Name, "--run-dir", n.RunDir,
		"--state-dir", n.StateDir, "--listen", StatusAddress}, flags...)
	program, env := cmp.Or(n.Program, n.lab.vipilot), []string{"PATH=" + n.BinDir() + ":" + os.Getenv("PATH")}
	if n.clock != nil {
		program, env = n.clock.vipilot, append(env, n.clock.env...)
	}
	d, err := n.daemon(env, program, args...)
	if err != nil {
		return err
	}
	n.controller = d
	err = Poll(ctx, Patience, func(ctx context.Context) error {
		if d.hasEnded() {
			return fmt.Errorf("it ended with exit code %d", d.Code())
		}
		_, err := n.Status(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("start vipilot on %s: %w\n%s", n.Name, err, d.tail(20))
	}
	return nil
}

// BinDir is where the node's own programs may be put, before the machine's.
func (n *Node) BinDir() string { return filepath.Join(n.dir, "bin") }

// Controller is the process started last, nil before.
func (n *Node) Controller() *Daemon { return n.controller }

// KillController ends the controller with SIGKILL, and nothing else.
func (n *Node) KillController() { n.controller.Kill() }

// StopController asks the controller to leave, with drain as its default, and waits.
func (n *Node) StopController() error { return n.controller.Stop(60 * time.Second) }

// Forget empties the node's disk: what vipilot keeps, and the logs.
func (n *Node) Forget() error {
	if err := os.RemoveAll(n.dir); err != nil {
		return err
	}
	return os.MkdirAll(n.dir, 0o755)
}

// Vipilot runs another vipilot command on the node, one that talks to the controller.
func (n *Node) Vipilot(ctx context.Context, args ...string) (string, error) {
	return n.Run(ctx, n.lab.vipilot, append(args, "--run-dir", n.RunDir)...)
}

// Binary is the vipilot program of this lab.
func (l *Lab) Binary() string { return l.vipilot }

// Logs is the end of everything the node's daemons wrote.
func (n *Node) Logs(lines int) string {
	out := new(bytes.Buffer)
	files, _ := filepath.Glob(n.dir + "/*.log")
	inner, _ := filepath.Glob(n.RunDir + "/*.log")
	for _, name := range append(files, inner...) {
		fmt.Fprintf(out, "--- %s %s\n%s\n", n.Name, filepath.Base(name), Tail(name, lines))
	}
	return out.String()
}

// Status reads GET /v1/status on the node.
func (n *Node) Status(ctx context.Context) (status.Report, error) {
	var report status.Report
	body, err := n.get(ctx, "/v1/status", 10*time.Second)
	if err != nil {
		return report, err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(&report); err != nil {
		return report, fmt.Errorf("read the status of %s: %w", n.Name, err)
	}
	return report, nil
}

// Events reads GET /v1/events and calls f for each event until ctx ends.
func (n *Node) Events(ctx context.Context, f func(status.Event)) error {
	body, err := n.get(ctx, "/v1/events", 0)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		data, isData := bytes.CutPrefix(lines.Bytes(), []byte("data:"))
		var event status.Event
		if isData && json.Unmarshal(data, &event) == nil {
			f(event)
		}
	}
	return lines.Err()
}

func (n *Node) get(ctx context.Context, path string, timeout time.Duration) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+StatusAddress+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := n.HTTPClient(timeout, false).Do(req)
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", path, n.Name, err)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("read %s of %s: %s", path, n.Name, resp.Status)
	}
	return resp.Body, nil
}

// Read is the whole answer to GET on the node's status listener.
func (n *Node) Read(ctx context.Context, path string) (string, error) {
	body, err := n.get(ctx, path, 10*time.Second)
	if err != nil {
		return "", err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	return string(data), err
}
