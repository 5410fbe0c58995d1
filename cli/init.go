package cli

import (
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/vipilot/vipilot/internal/supervise"
)

// initCommand is the first process of a container; the image names it.
func (p Program) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init run|sentinel [FLAG]…",
		Short: "Be the first process of a container and keep one command of vipilot running",
		Long: `Be the first process of a container: run another command of vipilot, start it again when it
dies, and bury the processes it leaves. HAProxy, keepalived and the sentinel are children of the
container and live on while the controller is replaced. A wrong command line ends it.`,
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if slices.Contains(args, "--help") || slices.Contains(args, "-h") {
				return cmd.Help() // cobra leaves it to us, and nothing shall be started for it
			}
			if len(args) == 0 || !slices.Contains([]string{"run", "sentinel"}, args[0]) {
				return usageError{fmt.Errorf("%s wants run or sentinel, and their flags", cmd.CommandPath())}
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find own program: %w", err)
			}
			first := supervise.Init{Argv: append([]string{self}, args...), Final: []int{exitUsage},
				Stdout: p.Stdout, Stderr: p.Stderr, Logger: p.logger(p.Getenv("VIPILOT_LOG_FORMAT"))}
			code, err := first.Run(cmd.Context())
			if err == nil && code != exitOK {
				err = silent{code}
			}
			return err
		},
	}
}
