package cli

import (
	"cmp"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vipilot/vipilot/controller"
	"github.com/vipilot/vipilot/status"
)

// askTimeout bounds a question to the controller.
const askTimeout = 5 * time.Second

// target is where a running controller is reached.
type target struct{ runDir, addr, caFile, certFile, keyFile string }

func (t *target) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&t.runDir, "run-dir", "/run/vipilot", "run directory of the controller")
	cmd.Flags().StringVar(&t.addr, "addr", "", "status listener of the controller, HOST:PORT, https://HOST:PORT or unix:PATH, instead of its run directory")
	cmd.Flags().StringVar(&t.caFile, "ca-file", "", "with https: the authority of the listener's certificate, in PEM; default: the system's")
	cmd.Flags().StringVar(&t.certFile, "cert-file", "", "with https: client certificate, in PEM")
	cmd.Flags().StringVar(&t.keyFile, "key-file", "", "with https: its key")
}

func (t target) client() (*status.Client, error) {
	if strings.Contains(t.addr, "@") && !strings.HasPrefix(t.addr, "unix:") { // messages repeat the address
		return nil, usageError{errors.New("--addr takes no user and password; a controller knows --token-file and --cert-file")}
	}
	c := status.NewClient(cmp.Or(t.addr, "unix:"+controller.Socket(t.runDir)))
	return c, c.ClientTLS(t.caFile, t.certFile, t.keyFile)
}

func (p Program) statusCommand() *cobra.Command {
	var at target
	asJSON := false
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show this node at a glance",
		Example: `  vipilot status
  vipilot status --addr 10.77.0.21:9890 --json | jq .vips`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := p.within(cmd.Context(), askTimeout)
			defer cancel()
			client, err := at.client()
			if err != nil {
				return err
			}
			report, err := client.Report(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				return p.encode(report)
			}
			return status.WriteText(p.Stdout, report, p.onTerminal(p.Stdout))
		},
	}
	at.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print GET /v1/status")
	return cmd
}
