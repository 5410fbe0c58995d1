package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/config/git"
	"github.com/vipilot/vipilot/controller"
)

func (p Program) validateCommand() *cobra.Command {
	var asJSON, alone bool
	var access git.Access
	cmd := &cobra.Command{
		Use:   "validate SOURCE",
		Short: "Show every fault of a configuration, with its place",
		Long: `Show every fault of a configuration at once, each as file:line:column: path: problem.
A configuration without faults is rendered for every node, and for every host with a
proxy, and given to the parsers of HAProxy and keepalived, where they are installed.

Exit code 0: valid. 3: invalid.`,
		Example: `  vipilot validate .
  vipilot validate --json fleet | jq '.faults[].problem'`,
		Args: exactly("SOURCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := load(cmd.Context(), args[0], access, new(config.Config))
			var faults config.Faults
			if errors.As(err, &faults) && asJSON {
				return errors.Join(p.encode(verdict{Faults: faults}), silent{exitInvalid})
			}
			if err != nil {
				return err
			}
			return p.validated(cmd, cfg, alone, asJSON)
		},
	}
	accessFlags(cmd.Flags(), &access)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&alone, "no-daemons", false, "do not ask HAProxy and keepalived")
	return cmd
}

// verdict is validate --json.
type verdict struct {
	Valid    bool           `json:"valid"`
	Revision string         `json:"revision,omitempty"`
	Faults   config.Faults  `json:"faults"`
	Warnings config.Faults  `json:"warnings"`
	Daemons  []daemonAnswer `json:"daemons"`
}

type daemonAnswer struct {
	Node    string `json:"node,omitempty"`
	Host    string `json:"host,omitempty"` // of its proxy, in place of a node
	Daemon  string `json:"daemon"`
	Error   string `json:"error,omitempty"`
	Skipped string `json:"skipped,omitempty"`
}

// silent is an exit code whose reason has been printed.
type silent struct{ code int }

func (silent) Error() string { return "" }

// validated asks the daemons about a configuration without faults.
func (p Program) validated(cmd *cobra.Command, cfg *config.Config, alone, asJSON bool) error {
	v := verdict{Valid: true, Revision: cfg.Revision, Faults: config.Faults{}, Warnings: cfg.Warnings, Daemons: []daemonAnswer{}}
	if !alone {
		remarks, err := controller.AskDaemons(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		for _, r := range remarks {
			answer := daemonAnswer{Node: r.Node, Host: r.Host, Daemon: r.Daemon, Skipped: r.Skipped}
			if r.Err != nil {
				v.Valid, answer.Error = false, r.Err.Error()
			}
			v.Daemons = append(v.Daemons, answer)
		}
	}
	if asJSON {
		if err := p.encode(v); err != nil {
			return err
		}
	} else {
		p.printVerdict(cfg, v)
	}
	if !v.Valid {
		return silent{exitInvalid}
	}
	return nil
}

func (p Program) printVerdict(cfg *config.Config, v verdict) {
	for _, w := range v.Warnings {
		fmt.Fprintf(p.Stderr, "warning: %s\n", w)
	}
	skipped := make(map[string]bool)
	for _, d := range v.Daemons {
		switch {
		case d.Error != "":
			who := "node " + d.Node
			if d.Host != "" {
				who = "host " + d.Host
			}
			fmt.Fprintf(p.Stderr, "%s: %s refuses: %s\n", who, d.Daemon, d.Error)
		case d.Skipped != "" && !skipped[d.Skipped]:
			skipped[d.Skipped] = true
			fmt.Fprintf(p.Stderr, "note: %s was not asked: %s\n", d.Daemon, d.Skipped)
		}
	}
	if v.Valid {
		fmt.Fprintf(p.Stdout, "valid: revision %s, %s, %s, %s, %s\n", cfg.Revision,
			count(len(cfg.Nodes), "node"), count(len(cfg.Hosts), "host"), count(len(cfg.VIPs), "VIP"), count(len(cfg.Services), "service"))
	}
}

func (p Program) encode(value any) error {
	e := json.NewEncoder(p.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(value)
}
