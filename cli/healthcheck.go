package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (p Program) healthcheckCommand() *cobra.Command {
	var at target
	ready := false
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Exit with 0 while the controller works, with 1 otherwise",
		Long: `Exit with 0 while the controller answers, with 1 otherwise: GET /healthz without a shell
or curl, for the HEALTHCHECK of a container. With --ready everything that is wanted must be
applied as well (GET /readyz); what is not is printed.`,
		Example: `  vipilot healthcheck
  vipilot healthcheck --ready --addr 10.77.0.21:9890`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := p.within(cmd.Context(), askTimeout)
			defer cancel()
			path := "/healthz"
			if ready {
				path = "/readyz"
			}
			client, err := at.client()
			if err != nil {
				return err
			}
			said, err := client.Check(ctx, path)
			if err == nil {
				fmt.Fprint(p.Stdout, said)
			}
			return err
		},
	}
	at.flags(cmd)
	cmd.Flags().BoolVar(&ready, "ready", false, "everything wanted must be applied, too")
	return cmd
}
