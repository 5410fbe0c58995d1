package cli

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCommand writes what a package installs besides the program: `make man`.
func (p Program) manCommand() *cobra.Command {
	dir := ""
	cmd := &cobra.Command{
		Use:    "man -o DIR",
		Short:  "Write the manual pages, and completions for bash, zsh and fish",
		Hidden: true,
		Args:   exactly(),
		RunE:   func(cmd *cobra.Command, _ []string) error { return p.writeManual(cmd.Root(), dir) },
	}
	cmd.Flags().StringVarP(&dir, "output", "o", ".", "directory for man1/ and completions/")
	return cmd
}

// writeManual gives the same bytes for the same program: the date is that of
// SOURCE_DATE_EPOCH, or none.
func (p Program) writeManual(root *cobra.Command, dir string) error {
	pages, completions := filepath.Join(dir, "man1"), filepath.Join(dir, "completions")
	for _, d := range []string{pages, completions} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("write manual: %w", err)
		}
	}
	epoch, err := strconv.ParseInt(cmp.Or(p.Getenv("SOURCE_DATE_EPOCH"), "0"), 10, 64)
	if err != nil {
		return usageError{fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)}
	}
	date := time.Unix(epoch, 0).UTC()
	root.DisableAutoGenTag = true
	defaultsOfAnyMachine(root)
	header := &doc.GenManHeader{Title: "VIPILOT", Section: "1", Source: "vipilot " + p.Version, Manual: "vipilot", Date: &date}
	if err := doc.GenManTree(root, header, pages); err != nil {
		return fmt.Errorf("write manual: %w", err)
	}
	for name, write := range map[string]func(string) error{
		"vipilot.bash": func(f string) error { return root.GenBashCompletionFileV2(f, true) },
		"_vipilot":     root.GenZshCompletionFile,
		"vipilot.fish": func(f string) error { return root.GenFishCompletionFile(f, true) },
	} {
		if err := write(filepath.Join(completions, name)); err != nil {
			return fmt.Errorf("write completion: %w", err)
		}
	}
	return nil
}

// defaultsOfAnyMachine keeps this machine's name out of the pages.
func defaultsOfAnyMachine(root *cobra.Command) {
	hostname, _ := os.Hostname()
	for _, c := range root.Commands() {
		if f := c.Flags().Lookup("node"); f != nil && f.DefValue == hostname {
			f.DefValue = "this machine's name"
		}
	}
}
