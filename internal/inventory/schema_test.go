package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/internal/cyclonedx"
)

// TestStandard holds a bill with all that vipilot is linked from, as
// docs/licences.md lists it, against the schema of CycloneDX 1.5, which has to
// refuse it once it is no longer one. (TestRelease holds that of a release
// against it.)
func TestStandard(t *testing.T) {
	page, err := os.ReadFile("../../docs/licences.md")
	if err != nil {
		t.Fatal(err)
	}
	var linked []part
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(strings.Trim(line, "| \n"), " | "); len(cells) == 2 && strings.Contains(cells[0], ".") {
			linked = append(linked, part{path: cells[0], version: "v1.0.0+incompatible", sum: "h1:x=", licence: cells[1]})
		}
	}
	if len(linked) < 50 {
		t.Fatalf("docs/licences.md has %d modules only", len(linked))
	}
	binary := filepath.Join(t.TempDir(), "vipilot")
	if err := os.WriteFile(binary, []byte("abc"), 0o755); err != nil {
		t.Fatal(err)
	}
	info := &debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Path: module, Version: "v1.2.0"},
		Settings: []debug.BuildSetting{{Key: "GOOS", Value: "linux"}, {Key: "GOARCH", Value: "arm64"}}}
	var bill bytes.Buffer
	if err := writeSBOM(&bill, binary, info, linked); err != nil {
		t.Fatal(err)
	}

	standard, err := cyclonedx.Load()
	if err != nil {
		t.Fatal(err)
	}
	if err := standard.Check(bill.Bytes()); err != nil {
		t.Errorf("%v\n%s", err, &bill)
	}
	for what, change := range map[string][2]string{
		"an unknown key":                 {`"bomFormat"`, `"colour": "blue", "bomFormat"`},
		"another format":                 {`"CycloneDX"`, `"SPDX"`},
		"a kind that is none":            {`"type": "library"`, `"type": "module"`},
		"a hash of another length":       {`"content": "`, `"content": "0`},
		"a licence beside an expression": {`"expression": "Apache-2.0"`, `"expression": "Apache-2.0", "license": {"id": "MIT"}`},
		"a part without a name":          {`"name": "std",`, ``},
		"what a part is of, twice":       {`"dependsOn": [`, `"dependsOn": ["x", "x",`},
	} {
		text := strings.Replace(bill.String(), change[0], change[1], 1)
		if text == bill.String() || !json.Valid([]byte(text)) {
			t.Errorf("%s: the bill has no %s, or is no JSON without it", what, change[0])
		}
		if standard.Check([]byte(text)) == nil {
			t.Errorf("%s: the schema lets it pass", what)
		}
	}
}
