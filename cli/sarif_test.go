package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/vipilot/vipilot/config"
)

// sarifSchemas are those of the standard (see testdata/README.md), and the
// part of it that vipilot may use, with what GitHub wants besides.
type sarifSchemas struct{ standard, ours *jsonschema.Schema }

func readSARIFSchemas(t *testing.T) (s sarifSchemas) {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for name, schema := range map[string]**jsonschema.Schema{"testdata/sarif-schema-2.1.0.json": &s.standard, "testdata/sarif.schema.json": &s.ours} {
		var err error
		if *schema, err = c.Compile(name); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// wantSARIF holds a log against the schemas, and its results against its rules.
func wantSARIF(t *testing.T, schemas sarifSchemas, log []byte) {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(log))
	if err == nil {
		err = errors.Join(schemas.standard.Validate(document), schemas.ours.Validate(document))
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
	schemas := readSARIFSchemas(t)
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
		wantSARIF(t, schemas, []byte(log))
	}
}

// So does what has no place of its own: a daemon's refusal, a missing file.
func TestSARIFWithoutPlace(t *testing.T) {
	schemas := readSARIFSchemas(t)
	cfg, err := config.Load(config.Tree{"b.yaml": []byte("version: 1\n"), "a.yml": []byte("nodes: {lb1: {address: 10.77.0.21, interface: eth0}}\n")})
	if err != nil {
		t.Fatal(err)
	}
	v := verdict{Faults: config.Faults{}, cfg: cfg, Daemons: []daemonAnswer{{Node: "lb1", Daemon: "haproxy", Error: "no"}}}
	log, err := json.Marshal(sarif(v, false, "test", "fleet"))
	if err != nil {
		t.Fatal(err)
	}
	wantSARIF(t, schemas, log)
	if !bytes.Contains(log, []byte(`"uri":"fleet/a.yml"`)) {
		t.Errorf("the refusal is nowhere: %s", log)
	}
	for _, files := range []map[string]string{nil, {"a.yaml": ""}, {"a.yaml": "{"}, {"a.yaml": "version: 1\n", "b.yaml": "\x00"}} {
		log, _ := said(t, "validate", "--no-daemons", "--format", "sarif", lay(t, files))
		wantSARIF(t, schemas, []byte(log))
	}
}

// The schemas can say no: ours to all of these, the standard's to what it forbids.
func TestSARIFSchemaRefuses(t *testing.T) {
	schemas := readSARIFSchemas(t)
	log, _ := said(t, "validate", "--no-daemons", "--format", "sarif", lay(t, map[string]string{"a.yaml": "nods: {}\n"}))
	for old, bad := range map[string]string{
		`"version": "2.1.0"`: `"version": "2.0.0"`, `"startLine": 1`: `"startLine": 0`, `"level": "error"`: `"level": "bad"`, `"locations": [`: `"places": [`,
		`"uri": "`: `"uri": "%zz`, `"text"`: `"words"`,
	} {
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(strings.Replace(log, old, bad, 1)))
		if err != nil || !strings.Contains(log, old) {
			t.Fatalf("%s: %v\n%s", old, err, log)
		}
		if schemas.ours.Validate(document) == nil {
			t.Errorf("%s is taken", bad)
		}
		if schemas.standard.Validate(document) == nil {
			t.Errorf("%s is taken by the standard's schema", bad)
		}
	}
}
