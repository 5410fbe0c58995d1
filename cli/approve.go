package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func (p Program) approveCommand() *cobra.Command {
	var at target
	var tokenFile string
	cmd := &cobra.Command{
		Use:   "approve REVISION",
		Short: "Let a guarded revision through",
		Long: `Lets the revision that waits on this node come into force: one that removes more than
guard.max_removed, one that waits for the canaries, or one that was taken back because it left
a service without endpoints. vipilot status names it and says why it waits; the first four
characters of it will do.`,
		Example: `  vipilot approve a38a8283b9a6
  vipilot approve a38a --addr 10.77.0.21:9890 --token-file token`,
		Args: exactly("REVISION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			token, err := readToken(tokenFile)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), askTimeout)
			defer cancel()
			client, err := at.client()
			if err != nil {
				return err
			}
			client.Token = token
			if err := client.Approve(ctx, args[0]); err != nil {
				return err
			}
			fmt.Fprintf(p.Stdout, "revision %s approved\n", args[0])
			return nil
		},
	}
	at.flags(cmd)
	cmd.Flags().StringVar(&tokenFile, "token-file", "", "file with the controller's token, needed with --addr HOST:PORT")
	return cmd
}
