package lab

import (
	"errors"
	"os"
	"path/filepath"
)

// Home is a node on the application host itself, of the host's name. End it
// before the lab is reset.
func (a *App) Home() *Node {
	dir := filepath.Join(a.dir, "home")
	return &Node{Host: a.Host, lab: a.lab, as: "--node", Address: a.Address,
		RunDir: filepath.Join(dir, "run"), StateDir: filepath.Join(dir, "state")}
}

// End stops the node in order and forgets it.
func (n *Node) End() error {
	return errors.Join(n.StopController(), os.RemoveAll(filepath.Dir(n.RunDir)))
}
