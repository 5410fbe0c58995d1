package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/vipilot/vipilot/"

// arrows says which rooms a room may import. Every room may use internal/;
// a sub-package may import its parent, and what its parent may.
var arrows = map[string][]string{
	"":           {"cli"},
	"cli":        {"controller", "sentinel", "config", "status", "importer"},
	"controller": {"config", "discovery", "haproxy", "vrrp", "routing", "acme", "status", "render"},
	"sentinel":   {"routing"},
	"haproxy":    {"render"},
	"vrrp":       {"render"},
	"routing":    {"render"},
	"acme":       {},
	"importer":   {},
	"render":     {"templates"},
	"templates":  {},
	"config":     {},
	"discovery":  {},
	"status":     {},
	"internal":   {},
	"e2e":        {"status"},
}

// TestArrows holds the imports against the picture in docs/architecture.md.
func TestArrows(t *testing.T) {
	forEachPackage(t, func(dir string, imports []string) {
		room, _, _ := strings.Cut(filepath.ToSlash(dir), "/")
		if room == "." {
			room = ""
		}
		allowed, ok := arrows[room]
		if !ok {
			t.Errorf("%s: no such room; add it to arrows and to docs/architecture.md", dir)
			return
		}
		for _, path := range imports {
			other, ours := strings.CutPrefix(path, module)
			target, _, _ := strings.Cut(other, "/")
			if !ours || target == room || target == "internal" || slices.Contains(allowed, target) {
				if ours && target == room && strings.HasPrefix(other, filepath.ToSlash(dir)+"/") {
					t.Errorf("%s imports its own sub-package %s", dir, other)
				}
				continue
			}
			t.Errorf("%s imports %s; allowed: %v", dir, other, allowed)
		}
	})
}

// TestArchitecturePage wants docs/architecture.md to show these arrows, and to
// have a place for every package.
func TestArchitecturePage(t *testing.T) {
	data, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	_, table, _ := strings.Cut(page, "| room | may import |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	shown := make(map[string][]string)
	for line := range strings.Lines(table) {
		words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune("|`, \n", r) })
		shown[words[0]] = words[1:]
	}
	for room, allowed := range arrows {
		if !slices.Equal(shown[room], allowed) && room != "" {
			t.Errorf("docs/architecture.md lets %s import %v, arrows %v", room, shown[room], allowed)
		}
		delete(shown, room)
	}
	for room := range shown {
		t.Errorf("docs/architecture.md shows arrows from %s, which is no room", room)
	}
	forEachPackage(t, func(dir string, _ []string) {
		room, below, _ := strings.Cut(filepath.ToSlash(dir), "/")
		if below == "" || room == "internal" || room == "e2e" || strings.HasSuffix(dir, "test") {
			dir = room
		}
		if dir != "." && !strings.Contains(page, "(../"+filepath.ToSlash(dir)+")") {
			t.Errorf("docs/architecture.md does not say what %s is", dir)
		}
	})
}

// TestPackageComments wants exactly one package comment a directory.
func TestPackageComments(t *testing.T) {
	comments := make(map[string]int)
	walk(t, func(file string) {
		if strings.HasSuffix(file, "_test.go") {
			return
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		comments[filepath.Dir(file)] += 0
		if parsed.Doc != nil {
			comments[filepath.Dir(file)]++
		}
	})
	for dir, n := range comments {
		if n != 1 {
			t.Errorf("%s has %d package comments, want 1", dir, n)
		}
	}
}

func forEachPackage(t *testing.T, visit func(dir string, imports []string)) {
	imports := make(map[string][]string)
	walk(t, func(file string) {
		if strings.HasSuffix(file, "_test.go") {
			return
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Dir(file)
		imports[dir] = append(imports[dir], "")
		for _, i := range parsed.Imports {
			imports[dir] = append(imports[dir], strings.Trim(i.Path.Value, `"`))
		}
	})
	for dir, paths := range imports {
		visit(dir, paths)
	}
}

func walk(t *testing.T, visit func(file string)) {
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".go") {
			visit(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
