package haproxy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	parser "github.com/haproxytech/client-native/v6/config-parser"
	parseerrors "github.com/haproxytech/client-native/v6/config-parser/errors"
)

// Section is a section of haproxy.cfg that may have lines of the operator's own.
type Section string

// The sections with raw lines.
const (
	GlobalSection   Section = "global"
	DefaultsSection Section = "defaults"
	BackendSection  Section = "backend"
)

// rawMark stands after every raw line.
const rawMark = " # raw"

// owned are the keywords that say what vipilot itself must say, or that run
// programs.
var owned = map[Section][]string{
	GlobalSection: {"chroot", "daemon", "default-path", "external-check", "gid", "group", "hard-stop-after", "insecure-fork-wanted",
		"insecure-setuid-wanted", "log", "lua-load", "lua-load-per-thread", "lua-prepend-path", "master-worker", "maxconn", "mworker-max-reloads",
		"pidfile", "presetenv", "resetenv", "server-state-base", "server-state-file", "setenv", "stats", "uid", "unix-bind", "unsetenv", "user"},
	DefaultsSection: {"external-check", "load-server-state-from-file", "log", "mode"},
	BackendSection: {"default-server", "external-check", "id", "load-server-state-from-file", "log", "mode", "server", "server-template",
		"stats"},
}

// CheckRaw says why a line must not stand in the section: it is no line of
// HAProxy's there, it would open another section, or it says what vipilot
// itself must say. nil = it may.
func CheckRaw(section Section, line string) error {
	words := strings.Fields(line)
	switch {
	case len(words) == 0:
		return errors.New("the line is empty")
	case strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }):
		return errors.New("the line has a character that is not printable ASCII")
	case len(line) > 1000:
		return errors.New("the line is longer than 1000 characters")
	case strings.HasPrefix(words[0], ".") || strings.HasPrefix(words[0], "#"):
		return fmt.Errorf("%q is no keyword of a %s section", words[0], section)
	case strings.Contains(line, `"`) && strings.Contains(line, "$"):
		return errors.New("within double quotes HAProxy replaces $: use single quotes")
	case strings.ContainsAny(line, "#"):
		return errors.New("# begins a comment: write it elsewhere")
	}
	key := words[0]
	if key == "no" || key == "default" {
		key = strings.Join(words[1:min(2, len(words))], "")
	}
	if slices.Contains(owned[section], key) || key == "option" && len(words) > 1 && words[1] == "external-check" {
		return fmt.Errorf("%s is vipilot's own to say", key)
	}
	return parses(section, line)
}

// parses asks config-parser: one section in, the same out, and no line left over.
func parses(section Section, line string) (err error) {
	defer func() {
		if bug := recover(); bug != nil { // the parser is not ours: "stick x" makes it panic
			err = fmt.Errorf("%q is written in a way that HAProxy's parser gives up on: %v", strings.Fields(line)[0], bug)
		}
	}()
	head, kind, name := "global", parser.Global, parser.GlobalSectionName
	switch section {
	case DefaultsSection:
		head, kind, name = "defaults raw", parser.Defaults, "raw"
	case BackendSection:
		head, kind, name = "backend raw", parser.Backends, "raw"
	}
	cfg, err := parse(head + "\n  " + line + "\n")
	if err != nil {
		return err
	}
	unknown, err := cfg.Get(kind, name, "")
	sections := 0
	for l := range strings.Lines(cfg.String()) {
		if strings.TrimSpace(l) != "" && !strings.HasPrefix(l, " ") {
			sections++
		}
	}
	if !errors.Is(err, parseerrors.ErrFetch) || sections != 1 || unknown != nil || !strings.Contains(cfg.String(), "\n  ") {
		return fmt.Errorf("%q is no line of a %s section, or written wrongly", strings.Fields(line)[0], section)
	}
	return nil
}

func (r Raw) fault() error {
	var errs []error
	for _, line := range r.Global {
		if err := CheckRaw(GlobalSection, line); err != nil {
			errs = append(errs, fmt.Errorf("raw: global: %w", err))
		}
	}
	for _, line := range r.Defaults {
		if err := CheckRaw(DefaultsSection, line); err != nil {
			errs = append(errs, fmt.Errorf("raw: defaults: %w", err))
		}
	}
	return errors.Join(errs...)
}

// writeRaw writes raw lines, marked as such.
func writeRaw(w *strings.Builder, lines []string) {
	for _, line := range lines {
		w.WriteString("  " + strings.TrimSpace(line) + rawMark + "\n")
	}
}
