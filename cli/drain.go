package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vipilot/vipilot/status"
)

// lookAgain is how often a waiting drain looks at what is left.
const lookAgain = 250 * time.Millisecond

// drainFlags are those of every kind of drain.
type drainFlags struct {
	at                 target
	tokenFile          string
	undo, wait, asJSON bool
	timeout            time.Duration
}

func (p Program) drainCommand() *cobra.Command {
	var f drainFlags
	cmd := &cobra.Command{
		Use:   "drain [node | host NAME | endpoint NAME]",
		Short: "Take something out of service in order, or back into it",
		Long: `Takes this node, an endpoint, or all endpoints of a host out of service. It is remembered across
restarts until --undo, under the name, whoever bears it meanwhile.

The node (no argument, or node) withdraws what other nodes announce too and asks HTTP clients to
reconnect; after routing.converge it hands its VIPs to the other nodes. What nobody takes, it
goes on serving.

An endpoint or a host gets no new sessions from this node, those that run finish within the
service's drain time, then the server is removed. Every node has to be told. NAME is as vipilot
status shows it: app1/web-1, 10.77.0.40:5432, or a host's name.

With --wait it returns when nothing comes any more and no session is left; the exit code is 1
when that is not so at --timeout.`,
		Example: `  vipilot drain node --wait && systemctl stop vipilot
  vipilot drain node --undo
  vipilot drain endpoint app1/web-1 --wait --timeout 1m
  vipilot drain host app1
  vipilot drain host app1 --undo`,
		ValidArgsFunction: first([]string{status.DrainNode, status.DrainHost, status.DrainEndpoint}, p.offerKnown(&f.at, drainable)),
		Args:              func(_ *cobra.Command, args []string) error { return checkDrain(args) },
		RunE: func(cmd *cobra.Command, args []string) error {
			r := status.DrainRequest{Kind: status.DrainNode, Undo: f.undo}
			if len(args) > 0 {
				r.Kind = args[0]
			}
			if len(args) > 1 {
				r.Name = args[1]
			}
			return p.drain(cmd.Context(), f, r)
		},
	}
	f.at.flags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.tokenFile, "token-file", "", "file with the controller's token, for --addr HOST:PORT")
	flags.BoolVar(&f.undo, "undo", false, "take it back into service")
	flags.BoolVar(&f.wait, "wait", false, "wait until no session is left, and print how many are")
	flags.DurationVar(&f.timeout, "timeout", 5*time.Minute, "longest wait")
	flags.BoolVar(&f.asJSON, "json", false, "print the answer of POST /v1/drain")
	return cmd
}

// checkDrain wants a kind and a name. Without arguments this node is meant.
func checkDrain(args []string) error {
	switch {
	case len(args) == 0 || args[0] == status.DrainNode && len(args) <= 2:
		return nil
	case args[0] == status.DrainNode:
		return usageError{fmt.Errorf("vipilot drain node wants one NAME or none, got %d; see vipilot drain --help", len(args)-1)}
	case args[0] != status.DrainEndpoint && args[0] != status.DrainHost:
		return usageError{fmt.Errorf("%q is none of node, host and endpoint; see vipilot drain --help", args[0])}
	case len(args) != 2:
		return usageError{fmt.Errorf("vipilot drain %s wants one NAME, got %d; see vipilot drain --help", args[0], len(args)-1)}
	}
	return nil
}

// drain asks, and waits where that is wanted.
func (p Program) drain(ctx context.Context, f drainFlags, r status.DrainRequest) error {
	token, err := readToken(f.tokenFile)
	if err != nil {
		return err
	}
	client, err := f.at.client()
	if err != nil {
		return err
	}
	client.Token = token
	ask := func(r status.DrainRequest) (*status.DrainAnswer, error) {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		return client.Drain(ctx, r)
	}
	answer, err := ask(r)
	if err != nil {
		return err
	}
	out := p.Stdout
	if f.asJSON {
		out = io.Discard
	}
	tellDrain(out, *answer, r.Undo)
	if f.wait && !r.Undo {
		r.Look = true
		answer, err = waitDrained(ctx, out, f.timeout, answer, func() (*status.DrainAnswer, error) { return ask(r) })
	}
	if f.asJSON && answer != nil {
		err = errors.Join(p.encode(answer), err)
	}
	return err
}

// tellDrain says what was done.
func tellDrain(w io.Writer, a status.DrainAnswer, undone bool) {
	var services []string
	for _, e := range a.Endpoints {
		if len(services) == 0 || services[len(services)-1] != e.Service {
			services = append(services, e.Service)
		}
	}
	of := ""
	if len(services) > 0 {
		of = " of " + strings.Join(services, ", ")
	}
	switch {
	case a.Kind == status.DrainNode && !undone:
		fmt.Fprintf(w, "node %s is %s; %s left\n", a.Name, a.Stage, count(a.Sessions(), "session"))
	case undone && a.Changed:
		fmt.Fprintf(w, "%s %s is back in service\n", a.Kind, a.Name)
	case undone:
		fmt.Fprintf(w, "%s %s was not drained\n", a.Kind, a.Name)
	default:
		fmt.Fprintf(w, "%s %s gets no new sessions%s; %s left\n", a.Kind, a.Name, of, count(a.Sessions(), "session"))
	}
	for _, service := range a.Empty {
		fmt.Fprintf(w, "service %s has no ready endpoint\n", service)
	}
}

// waitDrained looks until no session is left or the time is over.
func waitDrained(ctx context.Context, w io.Writer, timeout time.Duration, last *status.DrainAnswer, look func() (*status.DrainAnswer, error)) (*status.DrainAnswer, error) {
	deadline := time.After(timeout)
	for !last.Done() {
		select {
		case <-ctx.Done():
			return last, ctx.Err()
		case <-deadline:
			return last, undrained(*last, timeout)
		case <-time.After(lookAgain):
		}
		now, err := look()
		if err != nil {
			return last, err
		}
		if !now.Drained {
			return now, fmt.Errorf("%s %s was taken back into service meanwhile", now.Kind, now.Name)
		}
		if now.Stage != last.Stage {
			fmt.Fprintf(w, "node %s is %s\n", now.Name, now.Stage)
		}
		if now.Sessions() != last.Sessions() {
			fmt.Fprintf(w, "%s left\n", count(now.Sessions(), "session"))
		}
		last = now
	}
	fmt.Fprintf(w, "%s %s is drained\n", last.Kind, last.Name)
	return last, nil
}

// undrained says what is still there when the wait is over.
func undrained(a status.DrainAnswer, timeout time.Duration) error {
	if a.Kind == status.DrainNode && a.Stage != "drained" {
		return fmt.Errorf("node %s is still %s after %s: no other node has taken its VIPs; see vipilot status", a.Name, a.Stage, timeout)
	}
	return fmt.Errorf("%s are still on %s %s after %s; they end with the service's drain time", count(a.Sessions(), "session"), a.Kind, a.Name, timeout)
}
