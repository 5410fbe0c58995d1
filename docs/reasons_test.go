package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestReasons holds the tables of troubleshooting.md to the code: every reason
// that discovery or an explanation gives has a row, and no row is left over.
func TestReasons(t *testing.T) {
	text, err := os.ReadFile("troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	told := make(map[string]bool)
	for _, section := range []string{"## Containers that are not used", "## Answers of explain"} {
		_, table, found := strings.Cut(string(text), section+"\n")
		if !found {
			t.Fatalf("troubleshooting.md has no %q", section)
		}
		table, _, _ = strings.Cut(table, "\n## ")
		for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)`(?:, `([a-z_]+)`)? \\|").FindAllStringSubmatch(table, -1) {
			told[row[1]] = true
			if row[2] != "" {
				told[row[2]] = true
			}
		}
	}
	given := make(map[string]bool)
	collect(t, "../discovery/*.go", given, func(n ast.Node) []ast.Expr {
		if v, ok := n.(*ast.ValueSpec); ok && isReason(v.Type) {
			return v.Values
		}
		return nil
	})
	collect(t, "../controller/explain*.go", given, assignedReason)
	for _, role := range []string{"backup", "fault"} { // roles, which an explanation gives as reasons
		given[role] = true
	}
	if len(given) < 20 {
		t.Errorf("found only %v in the code", slices.Sorted(maps.Keys(given)))
	}
	for reason := range given {
		if !told[reason] {
			t.Errorf("troubleshooting.md does not tell of %s", reason)
		}
	}
	for reason := range told {
		if !given[reason] {
			t.Errorf("troubleshooting.md tells of %s, which nothing gives", reason)
		}
	}
}

// TestSilence holds what the page says of VIPs that are not announced to the
// words of the program.
func TestSilence(t *testing.T) {
	text, err := os.ReadFile("troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "## VIPs\n")
	table, _, _ = strings.Cut(table, "\n## ")
	var code strings.Builder
	for _, file := range []string{"controller/announce.go", "controller/report.go", "controller/last.go", "vrrp/checker.go"} {
		source, err := os.ReadFile("../" + file)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(source)
	}
	rows := regexp.MustCompile("(?m)^\\| `([^`…]+)").FindAllStringSubmatch(table, -1)
	for _, row := range rows {
		words := strings.TrimSuffix(strings.TrimSpace(row[1]), "backup") // a role is put in
		if words != "vipilot status" && !strings.Contains(code.String(), words) {
			t.Errorf("troubleshooting.md tells of %q, which the program does not say", row[1])
		}
	}
	if len(rows) < 10 {
		t.Errorf("%d rows, there should be more", len(rows))
	}
	given := make(map[string]bool)
	for _, file := range []string{"announce.go", "report.go", "last.go"} {
		silences(t, "../controller/"+file, given)
	}
	if len(given) < 15 {
		t.Errorf("found only %q in the code", slices.Sorted(maps.Keys(given)))
	}
	for words := range given {
		if !strings.Contains(table, words) {
			t.Errorf("troubleshooting.md does not tell of VIPs that are silent because of %q", words)
		}
	}
}

// silences adds what a file's functions say of VIPs that are not announced:
// their literals, without what is put in.
func silences(t *testing.T, file string, words map[string]bool) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range parsed.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || !slices.Contains([]string{"silence", "keepLastAnnouncer", "whyNot"}, f.Name.Name) {
			continue
		}
		ast.Inspect(f.Body, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			text, _ := strconv.Unquote(literal.Value)
			for piece := range strings.SplitSeq(text, "%s") {
				if piece = strings.Trim(piece, " ,("); len(piece) > len("node") {
					words[piece] = true
				}
			}
			return true
		})
	}
}

func isReason(e ast.Expr) bool {
	name, ok := e.(*ast.Ident)
	return ok && name.Name == "Reason"
}

// assignedReason are the values that a statement gives to a field Reason.
func assignedReason(n ast.Node) (values []ast.Expr) {
	switch n := n.(type) {
	case *ast.AssignStmt:
		for i, left := range n.Lhs {
			if field, ok := left.(*ast.SelectorExpr); ok && field.Sel.Name == "Reason" && len(n.Rhs) == len(n.Lhs) {
				values = append(values, n.Rhs[i])
			}
		}
	case *ast.KeyValueExpr:
		if isReason(n.Key) {
			values = append(values, n.Value)
		}
	}
	return values
}

// collect adds the words among the expressions that pick finds in the files.
func collect(t *testing.T, pattern string, words map[string]bool, pick func(ast.Node) []ast.Expr) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %v", pattern, files, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			for _, e := range pick(n) {
				if literal, ok := e.(*ast.BasicLit); ok && literal.Kind == token.STRING {
					if word, err := strconv.Unquote(literal.Value); err == nil && regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`).MatchString(word) {
						words[word] = true
					}
				}
			}
			return true
		})
	}
}
