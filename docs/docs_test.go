// Package docs holds the documentation, and holds it to the program: every
// YAML block loads, every command line parses, every link leads somewhere, every
// reason is told.
package docs

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/cli"
)

// page is a Markdown file, named from the repository's root.
type page struct{ name, text string }

// pages are all that a reader may open.
func pages(t *testing.T) (all []page) {
	t.Helper()
	root := os.DirFS("..")
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata"):
			return fs.SkipDir
		case path.Ext(name) != ".md":
			return nil
		}
		data, err := fs.ReadFile(root, name)
		all = append(all, page{name, string(data)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 30 {
		t.Fatalf("%d pages, there should be more", len(all))
	}
	return all
}

// line is the number of the line at an offset.
func (p page) line(offset int) string {
	return fmt.Sprintf("%s:%d", p.name, strings.Count(p.text[:offset], "\n")+1)
}

var fence = regexp.MustCompile("(?ms)^ *```.*?^ *```$")

// anchors are the fragments that GitHub gives to a page's headings.
func (p page) anchors() map[string]bool {
	found := make(map[string]bool)
	drop := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(fence.ReplaceAllString(p.text, ""), -1) {
		found[strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return found
}

// TestLinks wants every link between pages and files to lead somewhere.
func TestLinks(t *testing.T) {
	byName := make(map[string]page)
	all := pages(t)
	for _, p := range all {
		byName[p.name] = p
	}
	checked := 0
	for _, p := range all {
		for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatchIndex(p.text, -1) {
			link := p.text[m[2]:m[3]]
			if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
				continue
			}
			checked++
			file, anchor, _ := strings.Cut(link, "#")
			target := p.name
			if file != "" {
				target = path.Join(path.Dir(p.name), file)
			}
			if _, err := os.Stat(filepath.Join("..", target)); err != nil {
				t.Errorf("%s: link %s leads nowhere", p.line(m[0]), link)
			} else if anchor != "" && !byName[target].anchors()[anchor] {
				t.Errorf("%s: %s has no heading #%s", p.line(m[0]), target, anchor)
			}
		}
	}
	if checked < 50 {
		t.Errorf("%d links, there should be more", checked)
	}
}

// command finds what a reader would type: a line of a block, after a prompt or
// an assignment if there is one, and code in a sentence.
var command = regexp.MustCompile("(?m)(?:^ {4,}(?:[a-z0-9]*[#$] )?(?:[A-Z_]+=\\S+ )?|`|&& )(vipilot(?: [^`\n]*)?)")

// TestCommands parses every command line of vipilot with the program's own
// parser: commands and flags exist, and take the values given.
func TestCommands(t *testing.T) {
	checked := 0
	for _, p := range pages(t) {
		if p.name == "CHANGELOG.md" || strings.HasPrefix(p.name, "docs/decisions/") {
			continue // they speak of what was
		}
		for _, m := range command.FindAllStringSubmatchIndex(p.text, -1) {
			args := words(p.text[m[2]:m[3]])
			if len(args) < 2 || !regexp.MustCompile(`^(--)?[a-z]+$`).MatchString(args[1]) {
				continue // a sentence about vipilot
			}
			inSentence := p.text[m[2]-1] == '`'
			checked++
			err := parses(t, args[1:])
			if err != nil && inSentence { // which may name a flag without its value
				err = parses(t, append(args[1:], "x"))
			}
			if err != nil {
				t.Errorf("%s: %s: %v", p.line(m[2]), strings.Join(args, " "), err)
			}
		}
	}
	if checked < 100 {
		t.Errorf("%d commands, there should be more", checked)
	}
}

// words splits a command as a shell would, up to the end of the command. What
// stands for something else, … and the like, is left out.
func words(line string) (args []string) {
	for _, m := range regexp.MustCompile(`'([^']*)'|"([^"]*)"|(\S+)`).FindAllStringSubmatch(line, -1) {
		if m[3] != "" && regexp.MustCompile(`^(\||\|\||&&|>.*|>>|2>.*|<|;|#.*|→)$`).MatchString(m[3]) {
			break
		}
		word := m[1] + m[2] + m[3]
		if word != "…" {
			args = append(args, strings.TrimRight(word, ";"))
		}
	}
	return args
}

func parses(t *testing.T, args []string) error {
	var out, errs bytes.Buffer
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i] // what follows is for another program, and --help would be too
	}
	if args[0] == "--help" || args[0] == "help" || args[0] == "init" { // init takes all that follows as its child's
		return nil
	}
	code := cli.Run(t.Context(), cli.Program{Args: append(slices.Clone(args), "--help"), Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }})
	if code != 0 {
		return fmt.Errorf("%s", strings.TrimSpace(errs.String()))
	}
	if !strings.Contains(out.String(), "vipilot "+args[0]) {
		return fmt.Errorf("there is no such command")
	}
	return nil
}
