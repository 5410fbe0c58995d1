package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Tier is the reverse proxy of the application host: vipilot with --host.
func (a *App) Tier() *Node {
	if a.tier == nil {
		dir := filepath.Join(a.dir, "tier")
		a.tier = &Node{Host: a.Host, lab: a.lab, as: "--host", Address: a.Address,
			RunDir: filepath.Join(dir, "run"), StateDir: filepath.Join(dir, "state")}
	}
	return a.tier
}

// Socket is the engine's unix socket, as --docker wants it.
func (a *App) Socket() string { return "unix://" + filepath.Join(a.dir, "docker.sock") }

// end ends what runs of a tier, and forgets it.
func (n *Node) end(ctx context.Context) error {
	if n.controller != nil {
		n.controller.Kill()
		n.controller = nil
	}
	var record struct{ PID int }
	data, err := os.ReadFile(filepath.Join(n.RunDir, "haproxy", "haproxy.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, &record)
	}
	if err != nil {
		return fmt.Errorf("end the tier of %s: %w", n.Name, err)
	}
	_ = n.Signal(ctx, "KILL", record.PID) // it may be dead already
	return os.RemoveAll(filepath.Dir(n.RunDir))
}
