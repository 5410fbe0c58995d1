// Package cli is vipilot's command line: one file a command, and the only
// place that prints for people. It decides nothing; exit codes are the
// contract's: 0 ok, 1 it failed, 2 wrong usage, 3 invalid configuration.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/status"
)

// Program is what a run of the command line needs of its surroundings.
type Program struct {
	Version        string
	Args           []string
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	// Patience is how long to wait for a controller's answer, and at the end
	// for a collector; 0 = as long as a person would.
	Patience time.Duration
}

// within limits a question to usual, or to what p says in its place.
func (p Program) within(ctx context.Context, usual time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, cmp.Or(p.Patience, usual))
}

// Exit codes, contract section 5.
const (
	exitOK = iota
	exitFailed
	exitUsage
	exitInvalid
)

// usageError is a command typed wrongly.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Run runs the command that p.Args name and returns the exit code.
func Run(ctx context.Context, p Program) int {
	root := p.root()
	root.SetArgs(p.Args)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	var faults config.Faults
	var said silent
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &said):
		return said.code
	case errors.As(err, &faults):
		p.printFaults(faults)
		return exitInvalid
	case errors.As(err, &usage):
		fmt.Fprintf(p.Stderr, "vipilot: %v\n", err)
		return exitUsage
	}
	if errors.Is(err, status.ErrNobody) {
		err = fmt.Errorf("%w; vipilot run has to be up, and --run-dir or --addr say where", err)
	}
	fmt.Fprintf(p.Stderr, "vipilot: %v\n", err)
	return exitFailed
}

func (p Program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "vipilot",
		Short: "HAProxy, keepalived and BGP for Docker hosts, from one declarative repository",
		Long: `vipilot runs on every load-balancer node. It reads one YAML description of services
and virtual IPs, watches the Docker engines of the application hosts, and keeps HAProxy,
keepalived and a BGP speaker saying the same thing.`,
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return p.flagsFromEnvironment(cmd.Flags()) },
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q; see vipilot --help", args[0])}
			}
			return cmd.Help()
		},
		Args: cobra.ArbitraryArgs,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	})
	root.AddCommand(
		p.runCommand(),
		p.validateCommand(),
		p.renderCommand(),
		p.statusCommand(),
		p.explainCommand(), p.drainCommand(),
		p.approveCommand(),
		p.planCommand(),
		p.simulateCommand(),
		p.importCommand(),
		p.schemaCommand(),
		p.versionCommand(),
		p.healthcheckCommand(),
		p.sentinelCommand(), p.initCommand(), p.execCommand(), p.manCommand(),
	)
	complete(root)
	return root
}

// flagsFromEnvironment gives every flag that was not typed the value of its
// variable: --run-dir is VIPILOT_RUN_DIR.
func (p Program) flagsFromEnvironment(flags *pflag.FlagSet) error {
	var err error
	flags.VisitAll(func(f *pflag.Flag) {
		name := "VIPILOT_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value := p.Getenv(name)
		if f.Changed || value == "" || f.Name == "help" {
			return
		}
		if bad := flags.Set(f.Name, value); bad != nil {
			err = errors.Join(err, usageError{fmt.Errorf("%s: %w", name, bad)})
		}
	})
	return err
}

// exactly is cobra.ExactArgs with our exit code and the names of what is wanted.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usageError{fmt.Errorf("%s wants %s, got %s; see %s --help",
				cmd.CommandPath(), orNothing(names), count(len(args), "argument"), cmd.CommandPath())}
		}
		return nil
	}
}

func orNothing(names []string) string {
	if len(names) == 0 {
		return "no arguments"
	}
	return strings.Join(names, " ")
}

func (p Program) printFaults(faults config.Faults) {
	for _, f := range faults {
		fmt.Fprintln(p.Stderr, f)
	}
	fmt.Fprintf(p.Stderr, "vipilot: invalid configuration: %s\n", count(len(faults), "fault"))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// onTerminal reports whether w is one, so colour is welcome.
func (p Program) onTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || p.Getenv("NO_COLOR") != "" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
