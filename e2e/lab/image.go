package lab

import (
	"context"
	"errors"
	"os"
	"path/filepath"
)

// StartEngine starts a Docker engine on the node, for vipilot and its daemons
// in containers. It has no network of its own: the containers use the node's.
// Its images outlive the node's life; its containers are forgotten.
func (n *Node) StartEngine(ctx context.Context) error {
	for _, old := range []string{"containers", "volumes"} {
		if err := os.RemoveAll(filepath.Join(n.engineData(), old)); err != nil {
			return err
		}
	}
	_, err := n.startEngine(ctx, n.engineData())
	return err
}

// engineData is outside the node's directory, which every scenario empties.
func (n *Node) engineData() string { return filepath.Join(n.lab.Dir, "engine-"+n.Name) }

// RunImage starts the whole node from one container, with exactly these
// capabilities and those that are added, and a read-only root. It waits until
// the node's status can be read.
func (n *Node) RunImage(ctx context.Context, capabilities ...string) error {
	args := []string{"run", "-d", "--name", "vipilot", "--network", "host", "--read-only", "--restart", "always", "--stop-timeout", "60",
		"--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW", "--cap-add", "NET_BIND_SERVICE", "--security-opt", "no-new-privileges:true",
		"--health-interval", "1s", "--tmpfs", "/run/vipilot:mode=0755", "--tmpfs", "/tmp", "-v", n.StateDir + ":/var/lib/vipilot", "-v", n.lab.RepoDir() + ":/etc/vipilot:ro",
		"-e", "VIPILOT_NODE=" + n.Name, "-e", "VIPILOT_LISTEN=" + StatusAddress}
	for _, c := range capabilities {
		args = append(args, "--cap-add", c)
	}
	args = append(args, NodeImage)
	if _, err := n.Engine(ctx, args...); err != nil {
		return err
	}
	return n.awaitStatus(ctx)
}

func (n *Node) awaitStatus(ctx context.Context) error {
	err := Poll(ctx, Patience, func(ctx context.Context) error {
		_, err := n.Status(ctx)
		return err
	})
	if err != nil {
		logs, _ := n.script(ctx, `for c in $(docker ps -aq); do docker inspect --format '{{.Name}}: {{.State.Status}} {{.State.ExitCode}}' $c; docker logs --tail 20 $c 2>&1; done`)
		return errors.Join(err, errors.New(logs))
	}
	return nil
}
