package cli

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vipilot/vipilot/status"
)

// completeTimeout bounds what a press of the tabulator key waits for.
const completeTimeout = time.Second

// complete tells shells what to offer below cmd: the words of a flag that takes
// one of a few, directories where a flag wants one, and names of files as an
// argument only where that is a SOURCE.
func complete(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		few, ok := f.Value.(*oneOf)
		switch {
		case ok:
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(few.words, cobra.ShellCompDirectiveNoFileComp))
		case f.Name == "output" || strings.HasSuffix(f.Name, "-dir"):
			_ = cmd.MarkFlagDirname(f.Name)
		}
	})
	if cmd.ValidArgsFunction == nil && !strings.Contains(cmd.Use, " SOURCE") {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, sub := range cmd.Commands() {
		complete(sub)
	}
}

// first offers words for the first argument, and leaves the rest to others.
func first(words []string, others cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return words, cobra.ShellCompDirectiveNoFileComp
		}
		return others(cmd, args, typed)
	}
}

// offerKnown completes an argument by names that the running controller knows.
// Where none answers, nothing is offered.
func (p Program) offerKnown(at *target, pick func(r *status.Report, args []string) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		var names []string
		if err := p.flagsFromEnvironment(cmd.Flags()); err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := p.within(cmd.Context(), completeTimeout)
		defer cancel()
		if client, err := at.client(); err == nil {
			if r, err := client.Report(ctx); err == nil {
				names = pick(r, args)
			}
		}
		slices.Sort(names)
		return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
	}
}

// explainable are the names that explain takes.
func explainable(r *status.Report, args []string) []string {
	if len(args) > 0 {
		return nil
	}
	names := slices.AppendSeq(endpointNames(r), maps.Keys(r.Services))
	names = slices.AppendSeq(names, maps.Keys(r.VIPs))
	names = slices.AppendSeq(names, maps.Keys(r.Hosts))
	for _, s := range r.Services {
		for _, rejected := range s.Rejected {
			names = append(names, rejected.Name)
		}
	}
	return names
}

// drainable are the names of what drain was told the kind of.
func drainable(r *status.Report, args []string) []string {
	switch {
	case len(args) > 1:
		return nil
	case args[0] == status.DrainEndpoint:
		return endpointNames(r)
	case args[0] == status.DrainHost:
		return slices.Collect(maps.Keys(r.Hosts))
	case args[0] == status.DrainNode:
		return []string{r.Node}
	}
	return nil
}

// waiting is the revision that approve takes, if one waits.
func waiting(r *status.Report, args []string) []string {
	if len(args) > 0 || r.Config.Pending == nil {
		return nil
	}
	return []string{*r.Config.Pending}
}

func endpointNames(r *status.Report) (names []string) {
	for _, s := range r.Services {
		for _, e := range s.Endpoints {
			names = append(names, e.Name)
		}
	}
	return names
}
