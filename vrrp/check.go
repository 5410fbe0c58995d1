package vrrp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"github.com/vipilot/vipilot/internal/command"
)

// defaultBinary is looked up in PATH.
const defaultBinary = "keepalived"

// What Check and Set may fail for that a caller may want to tell apart.
var (
	ErrNotInstalled = errors.New("keepalived is not installed: apt-get install keepalived")
	// ErrNoInterface says that the file is good but for a network interface
	// that is missing where keepalived was asked, which need not be a node.
	ErrNoInterface = errors.New("no such network interface here")
)

// Check asks keepalived whether it can read file; binary "" means the one in
// PATH. The error repeats keepalived's own words, without passwords. Check
// also refuses what keepalived -t lets pass: a file that is missing or says
// nothing, and one address in two places. keepalived looks at the network
// interfaces of the namespace it is asked in, see [ErrNoInterface].
func Check(ctx context.Context, binary, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("check keepalived.conf: %w", err)
	}
	passwords, err := inspect(string(data))
	if err != nil {
		return fmt.Errorf("check %s: %w", file, err)
	}
	path, err := find(binary)
	if err != nil {
		return err
	}
	_, err = command.Run(ctx, path, "--config-test", "--use-file="+file)
	var failed *command.Error
	if errors.As(err, &failed) {
		for _, p := range passwords {
			failed.Output = strings.ReplaceAll(failed.Output, p, "***")
		}
		if onlyInterfaces(failed.Output) {
			return fmt.Errorf("check %s: %w: %w", file, ErrNoInterface, err)
		}
	}
	if err != nil {
		return fmt.Errorf("check %s: %w", file, err)
	}
	return nil
}

// onlyInterfaces reports whether keepalived complains about missing network
// interfaces and nothing else.
func onlyInterfaces(said string) bool {
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		missing := strings.Contains(line, " WARNING - interface ") && strings.HasSuffix(line, " doesn't exist")
		if !missing && line != "Non-existent interface specified in configuration" {
			return false
		}
	}
	return said != ""
}

// find gives the path of the program.
func find(binary string) (string, error) {
	path, err := exec.LookPath(cmp.Or(binary, defaultBinary))
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return "", ErrNotInstalled
	}
	if err != nil {
		return "", fmt.Errorf("find keepalived: %w", err)
	}
	return path, nil
}

// inspect looks for what keepalived -t does not mind, and returns the words
// that must not be repeated.
func inspect(conf string) (passwords []string, err error) {
	var block string
	empty, seen := true, map[netip.Addr]bool{}
	for line := range strings.Lines(conf) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		empty = false
		switch {
		case fields[0] == "auth_pass" && len(fields) > 1:
			passwords = append(passwords, strings.Trim(fields[1], `"`))
		case fields[len(fields)-1] == "{":
			block = fields[0]
		case fields[0] == "}":
			block = ""
		case block == "virtual_ipaddress" || block == "virtual_ipaddress_excluded":
			text, _, _ := strings.Cut(fields[0], "/")
			a, parseErr := netip.ParseAddr(text)
			if parseErr == nil && seen[a] {
				return nil, fmt.Errorf("address %s is there twice", a)
			}
			seen[a] = true
		}
	}
	if empty {
		return nil, errors.New("the file says nothing")
	}
	return passwords, nil
}
