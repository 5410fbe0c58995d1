package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// onWallClock says which files may make times without a monotonic reading, or
// take it off, and what for. A wait, a deadline or an interval measured with
// such a time is wrong after the machine's clock was set.
var onWallClock = map[string]string{
	"acme/keep.go":                    "serial number of a certificate",
	"cli/man.go":                      "the date on a manual page",
	"config/git/signers.go":           "validity of a signer's key",
	"config/pem.go":                   "validity of a certificate, for people",
	"config/watch.go":                 "files are compared by their times, for equality alone",
	"controller/drains.go":            "when somebody drained something, kept across restarts",
	"controller/explain_url.go":       "validity of a certificate, for people",
	"discovery/docker/inspect.go":     "the engine's clock, compared with itself",
	"discovery/docker/keeper.go":      "the engine's clock, compared with itself",
	"haproxy/cli.go":                  "a deadline that is over in any case",
	"internal/collector/collector.go": "times as the collector got them, for tests",
	"status/access.go":                "files are compared by their times, for equality alone",
	"status/board.go":                 "times of events, for people; IDs that rise across restarts",
	"status/certificate.go":           "validity of a certificate, for people",
	"status/metrics.go":               "timestamps, for Prometheus",
	"status/page_rows.go":             "times of events, for people",
	"status/webhook.go":               "the age of a signed message, told by its sender",
}

// wall are the functions and methods that lead off the monotonic clock.
var wall = map[string]bool{
	"time.Unix": true, "time.UnixMilli": true, "time.UnixMicro": true, "time.Date": true, "time.Parse": true, "time.ParseInLocation": true,
	".Unix": true, ".UnixMilli": true, ".UnixMicro": true, ".UnixNano": true, ".UTC": true, ".Local": true, ".In": true, ".ModTime": true,
}

// TestMonotonicClock holds that nothing is measured by the wall clock: the
// files that read it are known, each with its reason.
func TestMonotonicClock(t *testing.T) {
	used := make(map[string]bool)
	walk(t, func(file string) {
		name := filepath.ToSlash(file)
		if strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "e2e/") {
			return
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			return
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			selected, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			what := "." + selected.Sel.Name
			if of, ok := selected.X.(*ast.Ident); ok && of.Name == "time" {
				what = "time" + what
			}
			if wall[what] {
				used[name] = true
				if onWallClock[name] == "" {
					t.Errorf("%s calls %s, which has no monotonic reading: measure with time.Now and time.Since, or say here what it is for", name, what)
				}
			}
			return true
		})
	})
	for name := range onWallClock {
		if !used[name] {
			t.Errorf("%s does not read the wall clock any more: take it off the list", name)
		}
	}
}
