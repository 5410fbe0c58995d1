package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/vipilot/vipilot/controller"
)

// execCommand is what starts a daemon where the controller does not.
func (p Program) execCommand() *cobra.Command {
	runDir := ""
	cmd := &cobra.Command{
		Use:   "exec haproxy|keepalived",
		Short: "Become the HAProxy or keepalived that a controller attaches to",
		Long: `Wait until a controller has written what HAProxy or keepalived is to run, then become it,
in the same process. It is how a container or a unit of its own starts a daemon for a
controller that runs with --haproxy attach or --keepalived attach on the same run directory.
Whoever starts it has to start it again when it ends.`,
		Example:           `  vipilot exec haproxy --run-dir /run/vipilot`,
		Args:              exactly("haproxy|keepalived"),
		ValidArgsFunction: first([]string{"haproxy", "keepalived"}, cobra.NoFileCompletions),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains([]string{"haproxy", "keepalived"}, args[0]) {
				return usageError{fmt.Errorf("%s wants haproxy or keepalived, not %q", cmd.CommandPath(), args[0])}
			}
			dir, err := filepath.Abs(runDir)
			if err != nil {
				return fmt.Errorf("find directory: %w", err)
			}
			program, err := exec.LookPath(args[0])
			if err != nil {
				return fmt.Errorf("%s is not installed: %w", args[0], err)
			}
			argv, env, err := controller.Launch(cmd.Context(), args[0], dir)
			if err != nil {
				return err
			}
			if err := syscall.Exec(program, argv, append(os.Environ(), env...)); err != nil {
				return fmt.Errorf("become %s: %w", program, err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&runDir, "run-dir", "/run/vipilot", "run directory of the controller")
	return cmd
}
