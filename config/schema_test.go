package config

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/vipilot/vipilot/internal/golden"
)

// TestSchemaFiles keeps what is generated in step; make docs writes it anew.
func TestSchemaFiles(t *testing.T) {
	schema, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	golden.Equal(t, "../docs/vipilot.schema.json", schema)
	reference, err := Reference()
	if err != nil {
		t.Fatal(err)
	}
	golden.Equal(t, "../docs/configuration.md", []byte(reference))
}

// TestEveryKeyIsDescribed holds reference/*.txt against what the decoder takes.
func TestEveryKeyIsDescribed(t *testing.T) {
	all, err := meanings()
	if err != nil {
		t.Fatal(err)
	}
	keys, described := describeKeys(), make(map[string]meaning)
	for _, m := range all {
		if _, twice := described[m.shape]; twice {
			t.Errorf("config/reference describes %s twice", m.shape)
		}
		if _, ok := keys[m.shape]; !ok {
			t.Errorf("config/reference describes %s, which the decoder does not take; remove it or correct the key", m.shape)
		}
		described[m.shape] = m
	}
	for _, shape := range slices.Sorted(maps.Keys(keys)) {
		at, m := keys[shape], described[shape]
		for _, f := range at.forms {
			if f.kind != kMapping {
				continue
			}
			for _, key := range f.keys {
				if below := strings.TrimPrefix(shape+"."+key, "."); keys[below] == nil || len(keys[below].forms) == 0 {
					t.Errorf("%s: its reader looks at YAML nodes on its own, so the schema cannot know what it takes; have it call value.outlines, as asLabels does", below)
				}
			}
		}
		if shape == "" || strings.HasSuffix(shape, "[]") && !slices.ContainsFunc(at.forms, func(f form) bool { return f.kind == kMapping }) {
			continue
		}
		if m.says == "" {
			t.Errorf("%s has no description: add a line `%s: what it means` to config/reference/*.txt, then run make docs", shape, shape)
			continue
		}
		if leaf := !slices.ContainsFunc(at.forms, func(f form) bool { return f.kind == kMapping || f.kind == kNames }); leaf && at.exampleText(m) == "" {
			t.Errorf("%s has no example: add a line `  example: …` below it in config/reference/*.txt, then run make docs", shape)
		}
	}
}

// TestExamplesFitTheirKey checks the examples of the reference by the schema of their key.
func TestExamplesFitTheirKey(t *testing.T) {
	all, err := meanings()
	if err != nil {
		t.Fatal(err)
	}
	s := schema{outline: describeKeys()}
	for _, m := range all {
		if m.example == "" || s.outline[m.shape] == nil {
			continue
		}
		if err := compile(t, s.of(m.shape)).Validate(asJSON(t, []byte(m.example))[0]); err != nil {
			t.Errorf("the example of %s, %s: %v", m.shape, m.example, err)
		}
	}
}

// TestSchemaAgrees wants that the schema takes what loads, and refuses unknown keys.
func TestSchemaAgrees(t *testing.T) {
	written, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var root any
	if err := json.Unmarshal(written, &root); err != nil {
		t.Fatal(err)
	}
	whole := compile(t, root)
	good := append(glob(t, "testdata/*.good.yaml"), append(glob(t, "../examples/*/*.yaml"), glob(t, "../examples/*/*/*.yaml")...)...)
	for _, file := range good {
		for _, document := range asJSON(t, read(t, file)) {
			if err := whole.Validate(document); err != nil {
				t.Errorf("%s is good, but the schema says: %v", file, err)
			}
		}
	}
	refused := 0
	for _, file := range glob(t, "testdata/*.bad.txt") {
		if !strings.Contains(string(read(t, file)), "unknown key") {
			continue
		}
		refused++
		bad := strings.TrimSuffix(file, ".txt") + ".yaml"
		if !slices.ContainsFunc(asJSON(t, read(t, bad)), func(document any) bool { return whole.Validate(document) != nil }) {
			t.Errorf("%s has an unknown key, but the schema takes it", bad)
		}
	}
	if len(good) < 8 || refused < 4 {
		t.Errorf("%d good files, %d with unknown keys: there should be more", len(good), refused)
	}
}

// TestExamplesNameTheSchema wants editors to complete and check the examples.
func TestExamplesNameTheSchema(t *testing.T) {
	line := regexp.MustCompile(`^# yaml-language-server: \$schema=(\S+)\n`)
	for _, pattern := range []string{"../examples/*/*.yaml", "../examples/*/*/*.yaml"} {
		for _, file := range glob(t, pattern) {
			m := line.FindSubmatch(read(t, file))
			if m == nil {
				t.Errorf("%s: the first line should be # yaml-language-server: $schema=…/docs/vipilot.schema.json", file)
				continue
			}
			read(t, filepath.Join(filepath.Dir(file), string(m[1])))
		}
	}
}

func compile(t *testing.T, root any) *jsonschema.Schema {
	t.Helper()
	data, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("vipilot.schema.json", document); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("vipilot.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

// asJSON gives the documents of a YAML file as a JSON tool sees them.
func asJSON(t *testing.T, data []byte) (documents []any) {
	t.Helper()
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var raw any
		if decoder.Decode(&raw) != nil {
			return documents
		}
		text, err := json.Marshal(raw)
		if err != nil {
			t.Fatal(err)
		}
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if document != nil {
			documents = append(documents, document)
		}
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
