package cli

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vipilot/vipilot/status"
)

// lookupTimeout bounds the question to the resolver: the explanation is worth
// having without it.
const lookupTimeout = 1500 * time.Millisecond

func (p Program) explainCommand() *cobra.Command {
	var at target
	asJSON := false
	cmd := &cobra.Command{
		Use:   "explain SUBJECT",
		Short: "Say why something does or does not get traffic, step by step",
		Long: `Says step by step, from the DNS name to the container, why something does or does not
get traffic through this node, what was looked at and not taken, and what to do next.

SUBJECT is one of

  a container      web-1, app1/web-1, or four or more digits of its ID
  a service        todo
  an address       203.0.113.10, 203.0.113.10:443, or that of an endpoint, a container or a host
  a URL            https://todo.example.net/api, or just todo.example.net

also the name of a VIP or a host, and a server as HAProxy's log calls it. Where it means several
things, each is explained. A URL's host is looked up where this command runs.

The exit code is 0 when SUBJECT is known, whether or not it gets traffic, and 1 when it is not.`,
		Example: `  vipilot explain web-1
  vipilot explain app1/web-1 --json | jq -r .reason
  vipilot explain https://todo.example.net/api/items
  vipilot explain 203.0.113.10:443 --addr 10.77.0.21:9890`,
		Args:              exactly("SUBJECT"),
		ValidArgsFunction: p.offerKnown(&at, explainable),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := status.Question{Subject: args[0]}
			look(cmd.Context(), &q)
			ctx, cancel := p.within(cmd.Context(), askTimeout)
			defer cancel()
			client, err := at.client()
			if err != nil {
				return err
			}
			answer, err := client.Explain(ctx, q)
			if err != nil {
				return err
			}
			return p.printAnswer(answer, asJSON)
		},
	}
	at.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print GET /v1/explain")
	return cmd
}

func (p Program) printAnswer(answer *status.Answer, asJSON bool) error {
	out := p.Stdout
	if !answer.Found && !asJSON {
		out = p.Stderr
	}
	var err error
	if asJSON {
		err = p.encode(answer)
	} else {
		err = status.WriteAnswer(out, answer, p.onTerminal(out))
	}
	if err == nil && !answer.Found {
		return silent{exitFailed}
	}
	return err
}

// look asks this machine's resolver for the host of a URL.
func look(ctx context.Context, q *status.Question) {
	host := hostOf(q.Subject)
	if host == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	var failed *net.DNSError
	switch {
	case errors.As(err, &failed) && failed.IsNotFound:
		q.Unresolved = "no such name"
	case errors.As(err, &failed) && failed.IsTimeout, errors.Is(err, context.DeadlineExceeded):
		q.Unresolved = "the resolver does not answer"
	case err != nil:
		q.Unresolved = "the resolver cannot be asked"
	}
	for _, a := range addresses[:min(len(addresses), 16)] {
		q.Resolved = append(q.Resolved, a.Unmap().String())
	}
}

// hostOf is the host name in what may be a URL, "" where there is none.
func hostOf(subject string) string {
	host := ""
	if u, err := url.Parse(subject); err == nil && strings.Contains(subject, "://") {
		host = u.Hostname()
	} else if strings.Contains(subject, "://") {
		return ""
	} else {
		host, _, _ = strings.Cut(subject, "/")
		host, _, _ = strings.Cut(host, ":")
		if !strings.Contains(host, ".") {
			return "" // a service or a container
		}
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	return host
}
