// Command vipilot runs the load-balancer tier of a Docker fleet: HAProxy,
// keepalived and a BGP speaker, from one declarative repository. See
// `vipilot --help`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/vipilot/vipilot/cli"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal ends at once
	os.Exit(cli.Run(ctx, cli.Program{
		Version: version, Args: os.Args[1:], Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv,
	}))
}
