package controller

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/vrrp"
)

// The daemons' own directories in a run directory.
const haproxyDir, keepalivedDir = "haproxy", "keepalived"

// Launch waits until a controller has written what a daemon, haproxy or
// keepalived, is to run, and gives the command line by which somebody else
// starts it for that controller to attach to. env is added to the environment.
func Launch(ctx context.Context, daemon, runDir string) (argv, env []string, err error) {
	switch daemon {
	case "haproxy":
		argv, err = haproxy.Launch(ctx, filepath.Join(runDir, haproxyDir))
	case "keepalived":
		argv, env, err = vrrp.Launch(ctx, filepath.Join(runDir, keepalivedDir))
	default:
		err = fmt.Errorf("no daemon %q (known: haproxy, keepalived)", daemon)
	}
	return append([]string{daemon}, argv...), env, err
}
