package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// TestSBOM holds the bill against what its readers need, besides its schema: a
// package URL for everything, a tree without loose ends.
func TestSBOM(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "vipilot")
	if err := os.WriteFile(binary, []byte("abc"), 0o755); err != nil {
		t.Fatal(err)
	}
	info := &debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Path: module, Version: "v1.2.0"},
		Settings: []debug.BuildSetting{{Key: "GOOS", Value: "linux"}, {Key: "GOARCH", Value: "arm64"}}}
	linked := []part{
		{path: "github.com/Upper/Case", version: "v1.0.0", sum: "h1:x=", licence: "MIT"},
		{path: "github.com/docker/docker", version: "v28.5.2+incompatible", sum: "h1:y=", licence: "Apache-2.0 AND MIT"},
	}
	var first, second bytes.Buffer
	for _, out := range []*bytes.Buffer{&first, &second} {
		if err := writeSBOM(out, binary, info, linked); err != nil {
			t.Fatal(err)
		}
	}
	if first.String() != second.String() {
		t.Error("two bills of one binary differ")
	}
	type component struct {
		Type, Name, Version, Purl string
		Ref                       string `json:"bom-ref"`
		Licenses                  []struct{ Expression string }
		Hashes                    []struct{ Alg, Content string }
	}
	var bill struct {
		BOMFormat    string `json:"bomFormat"`
		SpecVersion  string `json:"specVersion"`
		Version      int
		Metadata     struct{ Component component }
		Components   []component
		Dependencies []struct {
			Ref       string
			DependsOn []string `json:"dependsOn"`
		}
	}
	if err := json.Unmarshal(first.Bytes(), &bill); err != nil {
		t.Fatal(err)
	}
	if bill.BOMFormat != "CycloneDX" || bill.SpecVersion != "1.5" || bill.Version != 1 {
		t.Errorf("this is %s %s, version %d", bill.BOMFormat, bill.SpecVersion, bill.Version)
	}
	whole := bill.Metadata.Component
	const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // SHA-256 of "abc", FIPS 180-4
	if whole.Type != "application" || whole.Version != "v1.2.0" || len(whole.Hashes) != 1 || whole.Hashes[0].Alg != "SHA-256" || whole.Hashes[0].Content != abc {
		t.Errorf("the whole is %+v", whole)
	}
	form := regexp.MustCompile(`^pkg:golang/[a-z0-9./_-]+@[A-Za-z0-9.%_-]+$`)
	var refs, names []string
	for _, c := range append(bill.Components, whole) {
		if c.Name == "" || c.Type == "" || !form.MatchString(c.Purl) || len(c.Licenses) != 1 || c.Licenses[0].Expression == "" {
			t.Errorf("incomplete: %+v", c)
		}
		if slices.Contains(refs, c.Ref) {
			t.Errorf("two of %s", c.Ref)
		}
		refs, names = append(refs, c.Ref), append(names, c.Name)
	}
	if !slices.Equal(names, []string{"std", "github.com/Upper/Case", "github.com/docker/docker", module}) {
		t.Errorf("components %v", names)
	}
	if len(bill.Dependencies) != 1 || bill.Dependencies[0].Ref != whole.Ref || !slices.Equal(bill.Dependencies[0].DependsOn, refs[:3]) {
		t.Errorf("dependencies %+v", bill.Dependencies)
	}
	if !strings.Contains(first.String(), "docker@v28.5.2%2Bincompatible") {
		t.Error("the + of a version is not escaped in its package URL")
	}
}

// TestLicenceOf wants the licences told from each other, and what is not known refused.
func TestLicenceOf(t *testing.T) {
	for text, want := range map[string]string{
		"Apache License\n  Version 2.0, January 2004":                                                             "Apache-2.0",
		"Permission is hereby granted, free of\ncharge, to any person":                                            "MIT",
		"Redistribution and use in source and binary forms ... Neither the name of":                               "BSD-3-Clause",
		"Redistribution and use in source and binary forms, with or without":                                      "BSD-2-Clause",
		"Mozilla Public License Version 2.0":                                                                      "MPL-2.0",
		"Permission to use, copy, modify, and distribute this software for any":                                   "ISC",
		"Permission is hereby granted, free of charge\n\nRedistribution and use in source and binary forms, with": "BSD-2-Clause AND MIT",
		"All rights reserved.": "",
	} {
		file := filepath.Join(t.TempDir(), "LICENSE")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := licenceOf([]string{file})
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q is %q, %v; want %q", text, got, err, want)
		}
	}
	if _, err := licenceOf(nil); err == nil {
		t.Error("a module without a licence is taken")
	}
}

// TestJudge wants an advisory that is called, an accepted one that is gone, and
// half a report refused.
func TestJudge(t *testing.T) {
	const modules = `{"config":{"protocol_version":"v1.0.0"}}{"SBOM":{"modules":[{"path":"stdlib"}]}}`
	found := func(id, function string) string {
		return `{"finding":{"osv":"` + id + `","trace":[{"module":"example.net/m","version":"v1.0.0","function":"` + function + `"}]}}`
	}
	known := map[string]string{"GO-1": "only the server has it"}
	for name, c := range map[string]struct{ report, wantErr string }{
		"accepted":              {modules + found("GO-1", "Serve"), ""},
		"required only":         {modules + found("GO-1", "Serve") + found("GO-2", ""), ""},
		"called":                {modules + found("GO-1", "Serve") + found("GO-2", "Parse"), "GO-2 in example.net/m v1.0.0 is called"},
		"accepted, and gone":    {modules, "GO-1 is accepted"},
		"nothing was looked at": {`{"config":{}}`, "did it run"},
		"empty":                 {"", "did it run"},
		"not a report":          {"govulncheck: no such host", "invalid character"},
	} {
		var out bytes.Buffer
		err := judge(&out, strings.NewReader(c.report), known)
		if (err == nil) != (c.wantErr == "") || err != nil && !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("%s: %v, want %q", name, err, c.wantErr)
		}
		if err == nil && !strings.Contains(out.String(), "GO-1 in example.net/m v1.0.0: accepted: only the server has it") {
			t.Errorf("%s: %s", name, &out)
		}
	}
}

// TestAcceptedAreTold wants docs/security.md to name what is accepted.
func TestAcceptedAreTold(t *testing.T) {
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	for id := range accepted {
		if !bytes.Contains(page, []byte("pkg.go.dev/vuln/"+id)) {
			t.Errorf("docs/security.md does not tell of %s", id)
		}
	}
	for _, id := range regexp.MustCompile(`GO-\d{4}-\d+`).FindAllString(string(page), -1) {
		if accepted[id] == "" {
			t.Errorf("docs/security.md tells of %s, which is not accepted", id)
		}
	}
}
