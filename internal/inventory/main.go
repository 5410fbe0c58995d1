// Inventory says what a binary of vipilot is made of: as a CycloneDX bill of
// materials (-sbom), as the page docs/licences.md (-page), or with the texts of all
// licences (-texts). It reads the build information in the binary and the module
// cache, and asks nobody. With -advisories it judges what govulncheck found.
//
//	go run ./internal/inventory -sbom bin/vipilot >sbom.json
package main

import (
	"cmp"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
)

func main() {
	sbom, texts, page := flag.Bool("sbom", false, "write CycloneDX JSON"), flag.Bool("texts", false, "write all licences"), flag.Bool("page", false, "write docs/licences.md")
	findings := flag.Bool("advisories", false, "read the output of govulncheck -format json; fail where a person has to act")
	version := flag.String("version", "", "what the bill says the binary's version is")
	flag.Parse()
	write := map[bool]writer{*sbom: writeSBOM, *texts: writeTexts, *page: writePage}[true]
	err := error(nil)
	if *findings {
		err = judge(os.Stdout, os.Stdin, accepted)
	} else {
		err = run(os.Stdout, flag.Arg(0), *version, write)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "inventory:", err)
		os.Exit(1)
	}
}

// writer writes one form of the inventory.
type writer func(io.Writer, string, *debug.BuildInfo, []part) error

func run(w io.Writer, binary, version string, write writer) error {
	if write == nil || binary == "" {
		return errors.New("usage: inventory (-sbom | -texts | -page) BINARY, or inventory -advisories")
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	if version != "" {
		info.Main.Version = version
	}
	parts, err := parts(info)
	if err != nil {
		return err
	}
	return write(w, binary, info, parts)
}

// part is a module that is linked in.
type part struct {
	path, version, sum string
	licence            string   // SPDX
	files              []string // with its licence and notices
}

func parts(info *debug.BuildInfo) ([]part, error) {
	cache, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		return nil, fmt.Errorf("find the module cache: %w", err)
	}
	var list []part
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		p := part{path: m.Path, version: m.Version, sum: m.Sum}
		dir := filepath.Join(strings.TrimSpace(string(cache)), escaped(m.Path)+"@"+escaped(m.Version))
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("read the licence of %s: %w (go mod download)", m.Path, err)
		}
		for _, e := range entries {
			if !e.IsDir() && licenceFile.MatchString(e.Name()) {
				p.files = append(p.files, filepath.Join(dir, e.Name()))
			}
		}
		if p.licence, err = licenceOf(p.files); err != nil {
			return nil, fmt.Errorf("%s: %w", m.Path, err)
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b part) int { return cmp.Compare(a.path, b.path) })
	return list, nil
}

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|unlicense)(\..*|-.*)?$`)

// escaped is a module path as the cache writes it.
func escaped(path string) string {
	var out strings.Builder
	for _, c := range path {
		if c >= 'A' && c <= 'Z' {
			out.WriteByte('!')
			c += 'a' - 'A'
		}
		out.WriteRune(c)
	}
	return out.String()
}

// licenceOf names the licences of files by words that stand in one kind only.
// What it does not know is an error: a person has to look.
func licenceOf(files []string) (string, error) {
	known := []struct{ spdx, words string }{
		{"Apache-2.0", "apache license version 2.0"},
		{"MPL-2.0", "mozilla public license version 2.0"}, {"MPL-2.0", "mozilla public license, version 2.0"},
		{"ISC", "permission to use, copy, modify, and/or distribute this software"}, {"ISC", "permission to use, copy, modify, and distribute this software"},
		{"MIT", "permission is hereby granted, free of charge"},
		{"BSD-3-Clause", "neither the name"}, {"BSD-3-Clause", "may not be used to endorse"},
		{"BSD-2-Clause", "redistribution and use in source and binary forms"},
		{"CC0-1.0", "cc0 1.0 universal"}, {"Unlicense", "this is free and unencumbered software"},
	}
	var found []string
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		text := strings.Join(strings.Fields(strings.ToLower(string(data))), " ")
		text = strings.ReplaceAll(text, "apache license, version 2.0", "apache license version 2.0")
		for _, k := range known {
			bsd3 := slices.Contains(found, "BSD-3-Clause")
			if strings.Contains(text, k.words) && !slices.Contains(found, k.spdx) && !(bsd3 && k.spdx == "BSD-2-Clause") {
				found = append(found, k.spdx)
			}
		}
	}
	if len(found) == 0 {
		return "", fmt.Errorf("no licence is known in %v", files)
	}
	slices.Sort(found)
	return strings.Join(found, " AND "), nil
}

func writePage(w io.Writer, _ string, _ *debug.BuildInfo, parts []part) error {
	fmt.Fprint(w, "# Licences\n\n<!-- Written by \"make licences\" from the modules linked into the binary. Do not edit. -->\n\n"+
		"vipilot is under Apache-2.0. These modules are linked into its binary; their texts are in THIRD_PARTY_LICENSES of a release.\n"+
		"HAProxy, keepalived and FRR are programs of their own (GPL-2.0) that it starts.\n\n| module | licence |\n|---|---|\n")
	for _, p := range parts {
		fmt.Fprintf(w, "| %s | %s |\n", p.path, p.licence)
	}
	return nil
}

func writeTexts(w io.Writer, _ string, _ *debug.BuildInfo, parts []part) error {
	for _, p := range parts {
		for _, file := range p.files {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "=== %s %s, %s\n\n%s\n\n", p.path, p.version, filepath.Base(file), strings.TrimSpace(string(text)))
		}
	}
	return nil
}
