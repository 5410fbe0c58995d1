package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/config/git"
	"github.com/vipilot/vipilot/controller"
	"github.com/vipilot/vipilot/status"
)

// planTimeout bounds the making of a plan: a controller of ten thousand
// containers decides for every node, twice.
const planTimeout = time.Minute

// planFlags are the flags of vipilot plan.
type planFlags struct {
	access                        git.Access
	at                            target
	tokenFile, base, endpoints    string
	node                          string
	diff, markdown, asJSON, codes bool
}

func (p Program) planCommand() *cobra.Command {
	var f planFlags
	cmd := &cobra.Command{
		Use:   "plan SOURCE",
		Short: "Say what a revision would change, and whether by runtime update or reload",
		Long: `Asks the running controller what the configuration at SOURCE would change: things declared,
endpoints, addresses, prefixes and peers of every node, what each component would do about it
(nothing, a runtime update, a reload, and why), and what clients will notice. Nothing is changed.

With --base, no controller is asked: SOURCE is compared with the configuration at BASE, and the
containers are those of --endpoints, as in vipilot render.

With --detailed-exitcode the exit code is 0 when nothing would change and 2 when something would.`,
		Example: `  vipilot plan .
  vipilot plan . --diff --node lb1
  vipilot plan . --base ../main --markdown >comment.md
  vipilot plan . --addr 10.77.0.21:9890 --token-file token --detailed-exitcode`,
		Args: exactly("SOURCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := load(cmd.Context(), args[0], f.access, nil)
			if err != nil {
				return err
			}
			plan, err := f.plan(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			if err := p.printPlan(plan, f); err != nil {
				return err
			}
			if plan.Changed && f.codes {
				return silent{exitUsage} // as in Terraform: 2 is "there are changes"
			}
			return nil
		},
	}
	f.at.flags(cmd)
	flags := cmd.Flags()
	accessFlags(flags, &f.access)
	flags.StringVar(&f.tokenFile, "token-file", "", "file with the controller's token, needed with --addr HOST:PORT")
	flags.StringVar(&f.base, "base", "", "compare with this SOURCE instead of asking a controller")
	flags.StringVar(&f.endpoints, "endpoints", "", "file with the endpoints of each service, with --base")
	flags.StringVar(&f.node, "node", "", "only this node")
	flags.BoolVar(&f.diff, "diff", false, "show the generated files that change")
	flags.BoolVar(&f.markdown, "markdown", false, "print Markdown, for a comment on a pull request")
	flags.BoolVar(&f.asJSON, "json", false, "print for machines")
	flags.BoolVar(&f.codes, "detailed-exitcode", false, "exit with 2 when something would change")
	cmd.MarkFlagsMutuallyExclusive("json", "markdown")
	return cmd
}

// plan asks the controller, or compares with a base.
func (f planFlags) plan(ctx context.Context, cfg *config.Config) (*status.Plan, error) {
	if f.base != "" {
		return f.compare(ctx, cfg)
	}
	if f.endpoints != "" {
		return nil, usageError{errors.New("--endpoints goes with --base: a controller knows its endpoints")}
	}
	token, err := readToken(f.tokenFile)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, planTimeout)
	defer cancel()
	client, err := f.at.client()
	if err != nil {
		return nil, err
	}
	client.Token = token
	return client.Plan(ctx, status.PlanRequest{Files: cfg.Files, Node: f.node, Diff: f.diff})
}

func (f planFlags) compare(ctx context.Context, cfg *config.Config) (*status.Plan, error) {
	base, err := load(ctx, f.base, f.access, nil)
	var faults config.Faults
	if errors.As(err, &faults) { // which of the two it is shows in the files' names
		for i := range faults {
			faults[i].Pos.File = named(f.base, faults[i].Pos.File)
		}
		return nil, faults
	}
	if err != nil {
		return nil, fmt.Errorf("--base: %w", err)
	}
	given, err := readEndpoints(f.endpoints, cfg)
	if err != nil {
		return nil, err
	}
	plan, err := controller.MakePlan(base, cfg, controller.View{Given: given}, controller.PlanOptions{Node: f.node, Files: f.diff, RunDir: f.at.runDir})
	return &plan, err
}

func (p Program) printPlan(plan *status.Plan, f planFlags) error {
	switch {
	case f.asJSON:
		return p.encode(plan)
	case f.markdown:
		return status.WritePlanMarkdown(p.Stdout, plan)
	}
	return status.WritePlan(p.Stdout, plan, p.onTerminal(p.Stdout))
}
