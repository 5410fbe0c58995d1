package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (p Program) approveCommand() *cobra.Command {
	var at target
	var tokenFile string
	asJSON := false
	cmd := &cobra.Command{
		Use:   "approve REVISION",
		Short: "Let a guarded revision through",
		Long: `Lets the revision that waits on this node come into force: one that removes more than
guard.max_removed, one that waits for the canaries, or one that was taken back because it left
a service without endpoints. vipilot status names it and says why it waits; the first four
characters of it will do.`,
		Example: `  vipilot approve a38a8283b9a6
  vipilot approve a38a --addr 10.77.0.21:9890 --token-file token`,
		Args:              exactly("REVISION"),
		ValidArgsFunction: p.offerKnown(&at, waiting),
		RunE: func(cmd *cobra.Command, args []string) error {
			token, err := readToken(tokenFile)
			if err != nil {
				return err
			}
			ctx, cancel := p.within(cmd.Context(), askTimeout)
			defer cancel()
			client, err := at.client()
			if err != nil {
				return err
			}
			client.Token = token
			approval, err := client.Approve(ctx, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return p.encode(approval)
			}
			_, err = fmt.Fprintf(p.Stdout, "revision %s approved\n", approval.Revision)
			return err
		},
	}
	at.flags(cmd)
	cmd.Flags().StringVar(&tokenFile, "token-file", "", "file with the controller's token, needed with --addr HOST:PORT")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the answer of POST /v1/approve")
	return cmd
}
