package main

import (
	"bytes"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemas are those of CycloneDX, by their addresses; see testdata/README.md.
type schemas string

func (dir schemas) Load(url string) (any, error) {
	data, err := os.ReadFile(filepath.Join(string(dir), path.Base(url)))
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(data))
}

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

	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.UseLoader(schemas("testdata"))
	standard, err := c.Compile("http://cyclonedx.org/schema/bom-1.5.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	check := func(text string) error {
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return standard.Validate(document)
	}
	if err := check(bill.String()); err != nil {
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
		if text == bill.String() {
			t.Errorf("%s: the bill has no %s", what, change[0])
		}
		if check(text) == nil {
			t.Errorf("%s: the schema lets it pass", what)
		}
	}
}
