package cli

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/vipilot/vipilot/sentinel"
)

// sentinelCommand is what the controller starts; people do not type it.
func (p Program) sentinelCommand() *cobra.Command {
	var runDir, deadman string
	var handOver bool
	cmd := &cobra.Command{
		Use:    "sentinel --run-dir DIR",
		Short:  "Guard the node: announce only while HAProxy lives and the kernel holds the address",
		Hidden: true,
		Args:   exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if handOver {
				return sentinel.HandOver(cmd.Context(), runDir)
			}
			if deadman != "" {
				return sentinel.DeadMan(runDir, deadman, os.NewFile(3, "sentinel's life"))
			}
			return sentinel.Run(cmd.Context(), sentinel.Options{RunDir: runDir, Logger: p.logger("text"), Build: p.Version})
		},
	}
	cmd.Flags().StringVar(&runDir, "run-dir", "/run/vipilot", "run directory of the node")
	cmd.Flags().BoolVar(&handOver, "hand-over", false, "tell the sentinel that runs to end and to leave routes and VIPs to the next one, which whoever started it starts")
	cmd.Flags().StringVar(&deadman, "deadman", "", "write a fault into this track file when descriptor 3 closes")
	return cmd
}
