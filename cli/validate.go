package cli

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/config/git"
	"github.com/vipilot/vipilot/controller"
)

// collectSeldom is how much garbage, in percent of what is in use, a command
// that ends in a moment lets lie about.
const collectSeldom = 400

type validateFlags struct {
	access        git.Access
	format        oneOf
	nodes         []string
	alone, strict bool
}

func (p Program) validateCommand() *cobra.Command {
	f := validateFlags{format: oneOf{"text", []string{"text", "json", "github", "sarif"}}}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "validate SOURCE",
		Short: "Show every fault of a configuration, with its place",
		Long: `Show every fault of a configuration at once, each as file:line:column: path: problem.
A configuration without faults is rendered for every node, or for those of --node, and for
every host with a proxy, and given to the parsers of HAProxy, keepalived and FRR, where they
are installed.

For the configuration's own CI: --format github prints workflow commands that GitHub shows
beside the lines, --format sarif a SARIF 2.1.0 log for code scanning. Files are named from
the working directory on.

Exit code 0: valid. 3: invalid, or with --strict a warning.`,
		Example: `  vipilot validate .
  vipilot validate fleet --format github --strict
  vipilot validate --format json fleet | jq '.faults[].problem'`,
		Args: exactly("SOURCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if asJSON {
				f.format.value = "json"
			}
			if p.Getenv("GOGC") == "" {
				debug.SetGCPercent(collectSeldom)
			}
			v, err := f.validate(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := p.printVerdict(v, f, args[0]); err != nil {
				return err
			}
			if !v.Valid {
				return silent{exitInvalid}
			}
			return nil
		},
	}
	accessFlags(cmd.Flags(), &f.access)
	cmd.Flags().Var(&f.format, "format", "how to print")
	cmd.Flags().BoolVar(&asJSON, "json", false, "the same as --format json")
	cmd.Flags().StringArrayVar(&f.nodes, "node", nil, "look at what this node would run, once or several times (default: every node)")
	cmd.Flags().BoolVar(&f.alone, "no-daemons", false, "do not ask HAProxy, keepalived and FRR")
	cmd.Flags().BoolVar(&f.strict, "strict", false, "a warning makes the configuration invalid")
	return cmd
}

// verdict is validate --format json.
type verdict struct {
	Valid    bool           `json:"valid"`
	Revision string         `json:"revision,omitempty"`
	Faults   config.Faults  `json:"faults"`
	Warnings config.Faults  `json:"warnings"`
	Daemons  []daemonAnswer `json:"daemons"`

	cfg *config.Config // nil with faults
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

// validate gives the verdict; an error means that there is none.
func (f validateFlags) validate(ctx context.Context, source string) (verdict, error) {
	v := verdict{Faults: config.Faults{}, Warnings: config.Faults{}, Daemons: []daemonAnswer{}}
	cfg, err := load(ctx, source, f.access, new(config.Config))
	if errors.As(err, &v.Faults) {
		return v, nil
	}
	if err != nil {
		return v, err
	}
	for _, name := range f.nodes {
		if _, ok := cfg.Node(name); !ok {
			return v, usageError{fmt.Errorf("--node %s: the configuration declares no such node", name)}
		}
	}
	v.cfg, v.Revision, v.Warnings = cfg, cfg.Revision, slices.Concat(v.Warnings, cfg.Warnings)
	v.Valid = !f.strict || len(cfg.Warnings) == 0
	answers, err := f.ask(ctx, cfg)
	for _, a := range answers {
		v.Valid = v.Valid && a.Error == ""
	}
	v.Daemons = slices.Concat(v.Daemons, answers)
	return v, err
}

// renderAll renders what the nodes would run, several at a time, and gives
// what cannot be rendered.
func (f validateFlags) renderAll(cfg *config.Config) (answers []daemonAnswer) {
	faults := make([]error, len(cfg.Nodes))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, node := range cfg.Nodes {
		if len(f.nodes) > 0 && !slices.Contains(f.nodes, node.Name) {
			continue
		}
		group.Go(func() error {
			_, faults[i] = controller.Render(cfg, node.Name, nil, "/run/vipilot")
			return nil
		})
	}
	_ = group.Wait() // each has its own
	for i, err := range faults {
		if err != nil {
			answers = append(answers, daemonAnswer{Node: cfg.Nodes[i].Name, Daemon: "vipilot", Error: err.Error()})
		}
	}
	return answers
}

// ask renders what the nodes would run, and gives it to the daemons unless
// they are left alone.
func (f validateFlags) ask(ctx context.Context, cfg *config.Config) (answers []daemonAnswer, err error) {
	if f.alone {
		return f.renderAll(cfg), nil
	}
	remarks, err := controller.AskDaemons(ctx, cfg, f.nodes...)
	for _, r := range remarks {
		a := daemonAnswer{Node: r.Node, Host: r.Host, Daemon: r.Daemon, Skipped: r.Skipped}
		if r.Err != nil {
			a.Error = r.Err.Error()
		}
		answers = append(answers, a)
	}
	return answers, err
}
