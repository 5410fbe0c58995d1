package config

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Difference is one key that two configurations do not have alike, as their
// files say it. Old or New is empty where a side does not have the key.
type Difference struct {
	Path     string // services.todo.backend.balance
	Old, New string // as YAML in one line; "changed" stands for the content of a referenced file
}

// Thing is the section and the name the difference belongs to, e.g.
// "services", "todo"; the name is empty in sections without names.
func (d Difference) Thing() (section, name string) {
	parts := strings.SplitN(d.Path, ".", 3)
	if len(parts) < 2 || !slices.Contains(sectionsOfNames, parts[0]) {
		return parts[0], ""
	}
	return parts[0], parts[1]
}

// Key is the path within the thing.
func (d Difference) Key() string {
	section, name := d.Thing()
	return strings.TrimPrefix(strings.TrimPrefix(d.Path, section+"."), name+".")
}

// sectionsOfNames are the sections that map names to things.
var sectionsOfNames = []string{"nodes", "hosts", "networks", "vips", "services", "acme"}

// Differences lists what changed from old to fresh, sorted by path: keys as
// the files have them, and referenced files whose content is another one. A
// nil configuration has nothing. File contents are never shown, so no secret is.
func Differences(old, fresh *Config) []Difference {
	before, after := flat(old), flat(fresh)
	var list []Difference
	for _, path := range slices.Sorted(maps.Keys(union(before, after))) {
		if before[path] != after[path] {
			list = append(list, Difference{Path: path, Old: before[path].text, New: after[path].text})
			if d := &list[len(list)-1]; d.Old == d.New { // the content behind it changed
				d.New += " (content changed)"
			}
		}
	}
	return list
}

// leaf is one scalar or list of a file.
type leaf struct {
	text    string
	content string // of a referenced file
}

func union(a, b map[string]leaf) map[string]bool {
	all := make(map[string]bool, len(a))
	for path := range a {
		all[path] = true
	}
	for path := range b {
		all[path] = true
	}
	return all
}

// flat is every key of a checked configuration with its value in one line.
func flat(cfg *Config) map[string]leaf {
	leaves := make(map[string]leaf)
	if cfg == nil {
		return leaves
	}
	names, _ := cfg.Files.List() // never fails: it is held in memory
	for _, name := range names {
		var top map[string]any
		if err := yaml.Unmarshal(cfg.Files[name], &top); err != nil {
			continue // it has loaded before, so it is an empty file
		}
		f := flattener{files: cfg.Files, dir: filepath.Dir(name), leaves: leaves}
		for key, value := range top {
			f.add(key, key, value)
		}
	}
	return leaves
}

// flattener walks one file.
type flattener struct {
	files  Tree
	dir    string
	leaves map[string]leaf
}

func (f flattener) add(path, key string, value any) {
	if keys, ok := value.(map[string]any); ok && len(keys) > 0 {
		for k, v := range keys {
			f.add(path+"."+k, k, v)
		}
		return
	}
	one := leaf{text: inline(value)}
	if name, ok := value.(string); ok && (strings.HasSuffix(key, "_file") || strings.Contains(path, ".http.error_pages.")) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(f.dir, name)
		}
		one.content = string(f.files[name])
	}
	f.leaves[path] = one
}

// inline is a value as YAML in one line.
func inline(value any) string {
	var node yaml.Node
	if err := node.Encode(value); err != nil {
		return fmt.Sprint(value)
	}
	node.Style = yaml.FlowStyle
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	if err := encoder.Encode(&node); err != nil {
		return fmt.Sprint(value)
	}
	return strings.Join(strings.Fields(out.String()), " ")
}
