package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/vipilot/vipilot/config"
)

// sarifSchema reads the part of SARIF 2.1.0 that vipilot may use.
func sarifSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile("testdata/sarif.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// wantSARIF holds a log against the schema, and its results against its rules.
func wantSARIF(t *testing.T, schema *jsonschema.Schema, log []byte) {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(log))
	if err == nil {
		err = schema.Validate(document)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, log)
		return
	}
	var read struct {
		Runs []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct{ RuleID string }
		}
	}
	if err := json.Unmarshal(log, &read); err != nil {
		t.Fatal(err)
	}
	for _, r := range read.Runs[0].Results {
		if !slices.ContainsFunc(read.Runs[0].Tool.Driver.Rules, func(rule struct{ ID string }) bool { return rule.ID == r.RuleID }) {
			t.Errorf("rule %q is not declared", r.RuleID)
		}
	}
}

// Every mistake that the configuration's own tests know becomes SARIF.
func TestSARIF(t *testing.T) {
	schema := sarifSchema(t)
	bad, err := filepath.Glob("../config/testdata/*.bad.yaml")
	if err != nil || len(bad) < 50 {
		t.Fatalf("%d mistakes, %v", len(bad), err)
	}
	for _, name := range bad {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		dir := lay(t, map[string]string{filepath.Base(name): string(data)})
		log, _ := said(t, "validate", "--no-daemons", "--format", "sarif", dir)
		if !strings.Contains(log, `"startLine"`) {
			t.Errorf("%s: no result\n%s", name, log)
		}
		wantSARIF(t, schema, []byte(log))
	}
}

// So does what has no place of its own: a daemon's refusal, a missing file.
func TestSARIFWithoutPlace(t *testing.T) {
	schema := sarifSchema(t)
	cfg, err := config.Load(config.Tree{"b.yaml": []byte("version: 1\n"), "a.yml": []byte("nodes: {lb1: {address: 10.77.0.21, interface: eth0}}\n")})
	if err != nil {
		t.Fatal(err)
	}
	v := verdict{Faults: config.Faults{}, cfg: cfg, Daemons: []daemonAnswer{{Node: "lb1", Daemon: "haproxy", Error: "no"}}}
	log, err := json.Marshal(sarif(v, false, "test", "fleet"))
	if err != nil {
		t.Fatal(err)
	}
	wantSARIF(t, schema, log)
	if !bytes.Contains(log, []byte(`"uri":"fleet/a.yml"`)) {
		t.Errorf("the refusal is nowhere: %s", log)
	}
	for _, files := range []map[string]string{nil, {"a.yaml": ""}, {"a.yaml": "{"}, {"a.yaml": "version: 1\n", "b.yaml": "\x00"}} {
		log, _ := said(t, "validate", "--no-daemons", "--format", "sarif", lay(t, files))
		wantSARIF(t, schema, []byte(log))
	}
}

// The schema can say no.
func TestSARIFSchemaRefuses(t *testing.T) {
	schema := sarifSchema(t)
	log, _ := said(t, "validate", "--no-daemons", "--format", "sarif", lay(t, map[string]string{"a.yaml": "nods: {}\n"}))
	for old, bad := range map[string]string{
		`"version": "2.1.0"`: `"version": "2.0.0"`, `"startLine": 1`: `"startLine": 0`, `"level": "error"`: `"level": "bad"`, `"locations": [`: `"places": [`,
		`"uri": "`: `"uri": "%zz`, `"text"`: `"words"`,
	} {
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(strings.Replace(log, old, bad, 1)))
		if err != nil || !strings.Contains(log, old) {
			t.Fatalf("%s: %v\n%s", old, err, log)
		}
		if schema.Validate(document) == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
