package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/config/git"
)

func (p Program) printVerdict(v verdict, f validateFlags, source string) error {
	switch f.format.value {
	case "json":
		return p.encode(v)
	case "github":
		p.printWorkflow(v, f, source)
		return nil
	case "sarif":
		return p.encode(sarif(v, f.strict, p.Version, source))
	}
	p.printText(v)
	if len(v.Faults) == 0 && !v.Valid && f.strict {
		fmt.Fprintf(p.Stderr, "vipilot: invalid configuration: %s, and --strict\n", count(len(v.Warnings), "warning"))
	}
	return nil
}

func (p Program) printText(v verdict) {
	if len(v.Faults) > 0 {
		p.printFaults(v.Faults)
		return
	}
	for _, w := range v.Warnings {
		fmt.Fprintf(p.Stderr, "warning: %s\n", w)
	}
	skipped := make(map[string]bool)
	for _, d := range v.Daemons {
		switch {
		case d.Error != "":
			fmt.Fprintln(p.Stderr, d.refusal())
		case d.Skipped != "" && !skipped[d.Skipped]:
			skipped[d.Skipped] = true
			fmt.Fprintf(p.Stderr, "note: %s was not asked: %s\n", d.Daemon, d.Skipped)
		}
	}
	if v.Valid {
		fmt.Fprintf(p.Stdout, "valid: revision %s, %s, %s, %s, %s\n", v.cfg.Revision,
			count(len(v.cfg.Nodes), "node"), count(len(v.cfg.Hosts), "host"), count(len(v.cfg.VIPs), "VIP"), count(len(v.cfg.Services), "service"))
	}
}

func (d daemonAnswer) refusal() string {
	who := "node " + d.Node
	if d.Host != "" {
		who = "host " + d.Host
	}
	return fmt.Sprintf("%s: %s refuses: %s", who, d.Daemon, d.Error)
}

func (p Program) encode(value any) error {
	e := json.NewEncoder(p.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

// printWorkflow prints GitHub's workflow commands.
func (p Program) printWorkflow(v verdict, f validateFlags, source string) {
	say := func(level string, fault config.Fault) {
		text := fault.Problem
		if fault.Hint != "" {
			text += "; " + fault.Hint
		}
		fmt.Fprintf(p.Stdout, "::%s file=%s,line=%d,col=%d,title=%s::%s\n", level, property(named(source, fault.Pos.File)),
			fault.Pos.Line, fault.Pos.Column, property(fault.Path), message(text))
	}
	for _, fault := range v.Faults {
		say("error", fault)
	}
	for _, w := range v.Warnings {
		say(levelOfWarning(f.strict), w)
	}
	for _, d := range v.Daemons {
		if d.Error != "" {
			fmt.Fprintf(p.Stdout, "::error title=%s::%s\n", property(d.Daemon), message(d.refusal()))
		}
	}
}

func levelOfWarning(strict bool) string {
	if strict {
		return "error"
	}
	return "warning"
}

// message and property escape what would end a workflow command, or a part of it.
func message(text string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(text)
}

func property(text string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(message(text))
}

// named gives a file of the source as it is called from the working directory,
// or in the repository of a Git URL.
func named(source, file string) string {
	if git.IsURL(source) {
		if u, err := git.Parse(source); err == nil && !path.IsAbs(file) {
			return path.Join(u.Folder, file)
		}
		return file
	}
	full := file
	if !filepath.IsAbs(file) {
		full = filepath.Join(source, file)
	}
	if filepath.IsAbs(full) {
		if here, err := os.Getwd(); err == nil {
			if relative, err := filepath.Rel(here, full); err == nil && filepath.IsLocal(relative) {
				full = relative
			}
		}
	}
	return filepath.ToSlash(full)
}

type object map[string]any

// sarif gives the verdict as a SARIF 2.1.0 log.
func sarif(v verdict, strict bool, version, source string) object {
	results := []object{}
	add := func(rule, level string, f config.Fault) {
		text := f.Problem
		if f.Path != "" {
			text = f.Path + ": " + text
		}
		if f.Hint != "" {
			text += "; " + f.Hint
		}
		result := object{"ruleId": rule, "level": level, "message": object{"text": text}}
		if f.Pos.File != "" {
			result["locations"] = []object{{
				"physicalLocation": object{
					"artifactLocation": artifact(named(source, f.Pos.File)),
					"region":           object{"startLine": max(1, f.Pos.Line), "startColumn": max(1, f.Pos.Column)},
				},
			}}
			if f.Path != "" {
				result["locations"].([]object)[0]["logicalLocations"] = []object{{"fullyQualifiedName": f.Path, "kind": "member"}}
			}
		}
		results = append(results, result)
	}
	for _, f := range v.Faults {
		add("fault", "error", f)
	}
	for _, f := range v.Warnings {
		add("warning", levelOfWarning(strict), f)
	}
	for _, d := range v.Daemons {
		if d.Error != "" {
			add("daemon", "error", config.Fault{Problem: d.refusal(), Pos: anyPlace(v.cfg)})
		}
	}
	rule := func(id, text string) object { return object{"id": id, "shortDescription": object{"text": text}} }
	return object{
		"$schema": "https://json.schemastore.org/sarif-2.1.0.json",
		"version": "2.1.0",
		"runs": []object{{
			"tool": object{"driver": object{
				"name": "vipilot", "version": version, "informationUri": "https://github.com/vipilot/vipilot",
				"rules": []object{
					rule("fault", "The configuration has a fault and is not taken."),
					rule("warning", "The configuration is taken, but something about it deserves a look."),
					rule("daemon", "A daemon refuses what a node would run."),
				},
			}},
			"columnKind": "unicodeCodePoints",
			"results":    results,
		}},
	}
}

// anyPlace is the first file of a configuration: a daemon's refusal has no
// place of its own, and GitHub takes no result without one.
func anyPlace(cfg *config.Config) config.Pos {
	for _, name := range slices.Sorted(maps.Keys(cfg.Files)) {
		if ext := path.Ext(name); ext == ".yaml" || ext == ".yml" {
			return config.Pos{File: name, Line: 1, Column: 1}
		}
	}
	return config.Pos{}
}

// artifact names a file for SARIF: what is below the working directory by its
// place in the repository, anything else by a file URL.
func artifact(name string) object {
	if path.IsAbs(name) {
		return object{"uri": (&url.URL{Scheme: "file", Path: name}).String()}
	}
	return object{"uri": (&url.URL{Path: name}).EscapedPath(), "uriBaseId": "%SRCROOT%"}
}
