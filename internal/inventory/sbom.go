package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/url"
	"os"
	"runtime/debug"
	"strings"
)

// writeSBOM writes CycloneDX 1.5 (ECMA-424), without a serial number or a time:
// equal binaries give equal bills.
func writeSBOM(w io.Writer, binary string, info *debug.BuildInfo, parts []part) error {
	type object = map[string]any
	data, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	whole := object{
		"type": "application", "bom-ref": purl(info.Main.Path, info.Main.Version), "name": info.Main.Path, "version": info.Main.Version,
		"purl": purl(info.Main.Path, info.Main.Version), "licenses": []object{{"expression": "Apache-2.0"}},
		"hashes":     []object{{"alg": "SHA-256", "content": hex.EncodeToString(sum[:])}},
		"properties": []object{{"name": "go:platform", "value": platform(info)}},
	}
	all := append([]part{{path: "std", version: strings.TrimPrefix(info.GoVersion, "go"), licence: "BSD-3-Clause"}}, parts...)
	var components []object
	var refs []string
	for _, p := range all {
		ref := purl(p.path, p.version)
		c := object{"type": "library", "bom-ref": ref, "name": p.path, "version": p.version, "purl": ref, "licenses": []object{{"expression": p.licence}}}
		if p.sum != "" {
			c["properties"] = []object{{"name": "go:sum", "value": p.sum}}
		}
		components, refs = append(components, c), append(refs, ref)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(object{
		"$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json", "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
		"metadata":   object{"component": whole, "tools": object{"components": []object{{"type": "application", "name": module + "/internal/inventory"}}}},
		"components": components, "dependencies": []object{{"ref": whole["bom-ref"], "dependsOn": refs}},
	})
}

const module = "github.com/vipilot/vipilot"

// purl is a module in the form of package-url's type golang, whose names are in
// lower case.
func purl(path, version string) string {
	text := "pkg:golang/" + strings.ToLower(path)
	if version == "" || version == "(devel)" {
		return text
	}
	return text + "@" + strings.ReplaceAll(url.QueryEscape(version), "%3A", ":")
}

// platform is what the binary is for, such as linux/arm64.
func platform(info *debug.BuildInfo) string {
	set := make(map[string]string)
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	return set["GOOS"] + "/" + set["GOARCH"]
}
