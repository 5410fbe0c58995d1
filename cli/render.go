package cli

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/config/git"
	"github.com/vipilot/vipilot/controller"
)

func (p Program) renderCommand() *cobra.Command {
	var node, host, endpoints, out, runDir string
	hostname, _ := os.Hostname()
	var access git.Access
	cmd := &cobra.Command{
		Use:   "render SOURCE --node NAME -o DIR",
		Short: "Write the files a node would run",
		Long: `Write the files a node would run: haproxy.cfg (with maps/ and certs/), keepalived.conf,
routes.json and, where FRR speaks, frr.conf. Nothing is started and no engine is asked; --endpoints names a YAML or
JSON file that stands for the containers:

  todo: [10.77.0.11:32768, {name: app2/web-1, address: "10.77.0.12:32768"}]

or the answer of GET /v1/status. Keys in the written files may be secret: only the owner
can read them.`,
		Example: `  vipilot render . --node lb1 -o /tmp/lb1 && haproxy -c -f /tmp/lb1/haproxy.cfg
  curl -s lb1:9890/v1/status >now.json && vipilot render . --node lb1 --endpoints now.json -o /tmp/lb1`,
		Args: exactly("SOURCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usageError{fmt.Errorf("-o DIR is required; see vipilot render --help")}
			}
			cfg, err := load(cmd.Context(), args[0], access, nil)
			if err != nil {
				return err
			}
			given, err := readEndpoints(endpoints, cfg)
			if err != nil {
				return err
			}
			files, err := renderFor(cfg, node, host, given, runDir)
			if err != nil {
				return err
			}
			if err := controller.WriteFiles(out, files); err != nil {
				return err
			}
			for _, name := range slices.Sorted(maps.Keys(files)) {
				fmt.Fprintln(p.Stdout, filepath.Join(out, name))
			}
			return nil
		},
	}
	flags := cmd.Flags()
	accessFlags(flags, &access)
	flags.StringVar(&node, "node", hostname, "the node's name under nodes:")
	flags.StringVar(&host, "host", "", "a host's name under hosts:, for the files of its proxy")
	flags.StringVarP(&out, "output", "o", "", "directory to write into (required)")
	flags.StringVar(&endpoints, "endpoints", "", "file with the endpoints of each service")
	flags.StringVar(&runDir, "run-dir", "/run/vipilot", "run directory that sockets are named by")
	return cmd
}

// renderFor renders for a host where one is named, else for the node.
func renderFor(cfg *config.Config, node, host string, given controller.Given, runDir string) (map[string][]byte, error) {
	if host != "" {
		return controller.RenderTier(cfg, host, given, runDir)
	}
	return controller.Render(cfg, node, given, runDir)
}
