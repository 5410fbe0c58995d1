package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/config/git"
	"github.com/vipilot/vipilot/controller"
	"github.com/vipilot/vipilot/status"
)

func (p Program) simulateCommand() *cobra.Command {
	var at target
	var fail []string
	var endpoints string
	all, asJSON, detailed := false, false, false
	var access git.Access
	cmd := &cobra.Command{
		Use:   "simulate SOURCE --fail NODE|HOST|PEER",
		Short: "Say who holds each VIP and which endpoints remain after a failure",
		Long: `Says what a fleet would serve after failures: which node holds each VIP, who announces it
to which router, which endpoints remain, and what share of the traffic each node and host then
carries (each service counted alike). Nothing is touched: it is the decision that every node
makes, made for all of them.

Containers are those of the running controller (--run-dir, --addr), or of the file that
--endpoints names, as in vipilot render; without either, static servers alone are known.

With --detailed-exitcode the exit code is 2 when a service is lost, 0 when none is.`,
		Example: `  vipilot simulate /etc/vipilot --fail lb1
  vipilot simulate . --fail lb1 --fail host/app2 --endpoints now.json
  vipilot simulate . --all --addr 10.77.0.21:9890
  vipilot simulate . --all --json | jq '.failures[] | select(.lost != [])'`,
		Args: exactly("SOURCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(fail) > 0) {
				return usageError{errors.New("name what fails with --fail, once or several times, or try every single failure with --all")}
			}
			cfg, err := load(cmd.Context(), args[0], access, nil)
			if err != nil {
				return err
			}
			view, err := p.knownEndpoints(cmd.Context(), cfg, endpoints, at, cmd.Flags().Changed("run-dir") || at.addr != "")
			if err != nil {
				return err
			}
			lost := false
			if all {
				lost, err = p.survey(cfg, view, asJSON)
			} else {
				lost, err = p.forecast(cfg, view, fail, asJSON)
			}
			if err == nil && lost && detailed {
				return silent{exitUsage}
			}
			return err
		},
	}
	at.flags(cmd)
	flags := cmd.Flags()
	accessFlags(flags, &access)
	flags.StringArrayVar(&fail, "fail", nil, "what fails: the name of a node, a host or a peer; node/NAME where a name is ambiguous")
	flags.BoolVar(&all, "all", false, "try every single failure")
	flags.StringVar(&endpoints, "endpoints", "", "file with the endpoints of each service, instead of the controller's")
	flags.BoolVar(&asJSON, "json", false, "print for machines")
	flags.BoolVar(&detailed, "detailed-exitcode", false, "exit with 2 when a service is lost")
	return cmd
}

func (p Program) forecast(cfg *config.Config, view controller.View, fail []string, asJSON bool) (lost bool, err error) {
	var failures []controller.Failure
	for _, text := range fail {
		f, err := controller.FindFailure(cfg, text)
		if err != nil {
			return false, usageError{fmt.Errorf("--fail: %w", err)}
		}
		failures = append(failures, f)
	}
	f, err := controller.Forecast(cfg, view, failures...)
	if err != nil {
		return false, err
	}
	if asJSON {
		return len(f.Lost) > 0, p.encode(f)
	}
	return len(f.Lost) > 0, status.WriteForecast(p.Stdout, &f, p.onTerminal(p.Stdout))
}

func (p Program) survey(cfg *config.Config, view controller.View, asJSON bool) (lost bool, err error) {
	s, err := controller.Survey(cfg, view)
	if err != nil {
		return false, err
	}
	if asJSON {
		return s.Lossy > 0, p.encode(s)
	}
	return s.Lossy > 0, status.WriteSurvey(p.Stdout, &s, p.onTerminal(p.Stdout))
}

// knownEndpoints are those of the file, or of the controller, which must
// answer when it was named; otherwise none.
func (p Program) knownEndpoints(ctx context.Context, cfg *config.Config, file string, at target, named bool) (controller.View, error) {
	if file != "" {
		given, err := readEndpoints(file, cfg)
		return controller.View{Given: given}, err
	}
	if _, err := os.Stat(controller.Socket(at.runDir)); err != nil && !named {
		fmt.Fprintln(p.Stderr, "no controller runs here: containers are unknown, static servers alone are counted; see --endpoints and --addr")
		return controller.View{}, nil
	}
	ctx, cancel := p.within(ctx, askTimeout)
	defer cancel()
	client, err := at.client()
	if err != nil {
		return controller.View{}, err
	}
	report, err := client.Report(ctx)
	if err != nil {
		return controller.View{}, err
	}
	return controller.View{Given: reported(report, cfg)}, nil
}
