package config

import (
	"fmt"
	"slices"
	"strings"
)

const referenceHead = `# Configuration reference

<!-- Written by "make docs" from the decoder and config/reference/*.txt. Do not edit. -->

A configuration is a directory of ` + "`*.yaml`" + ` and ` + "`*.yml`" + ` files, read recursively; hidden files are skipped. Sections are
merged across files, and a name declared twice is a fault. Unknown keys, wrong types and dangling references are faults; ` + "`vipilot validate`" + `
shows all of them at once. A key that ends in ` + "`_file`" + ` names a file, relative to the one that names it, or absolute. Durations are
written as ` + "`200ms`, `30s` or `5m`" + `. ` + "`*`" + ` stands for a name of your own, ` + "`[]`" + ` for an item of a list.

` + "`vipilot schema`" + ` prints the same as JSON Schema; put it beside the configuration, and the first line

    # yaml-language-server: $schema=vipilot.schema.json

makes editors complete and check while you type.
`

// Reference gives the configuration reference in Markdown: every key the
// decoder takes, with its meaning, type, default and an example.
func Reference() (string, error) {
	all, err := meanings()
	if err != nil {
		return "", err
	}
	keys := describeKeys()
	var b strings.Builder
	b.WriteString(referenceHead)
	section := ""
	for _, m := range all {
		at, ok := keys[m.shape]
		if !ok {
			continue // a test says so
		}
		if top, _, _ := strings.Cut(m.shape, "."); top != section {
			section = top
			fmt.Fprintf(&b, "\n## %s\n\n| key | type | default | meaning | example |\n|---|---|---|---|---|\n", section)
		}
		fmt.Fprintf(&b, "| `%s`%s | %s | %s | %s | %s |\n", m.shape, keys.must(m.shape), keys.types(m.shape), at.defaultText(m), cell(m.says), code(at.exampleText(m)))
	}
	return b.String(), nil
}

// must marks a key that its mapping cannot be without.
func (o outline) must(shape string) string {
	dot := strings.LastIndexByte(shape, '.')
	if dot < 0 {
		return ""
	}
	above, ok := o[shape[:dot]]
	if ok && slices.ContainsFunc(above.forms, func(f form) bool { return slices.Contains(f.required, shape[dot+1:]) }) {
		return " **required**"
	}
	return ""
}

// types says in words how the value is written.
func (o outline) types(shape string) string {
	at, ok := o[shape]
	if !ok {
		return ""
	}
	var ways []string
	for _, f := range at.forms {
		ways = append(ways, o.typeOf(shape, f))
	}
	return strings.Join(ways, ", or ")
}

func (o outline) typeOf(shape string, f form) string {
	switch f.kind {
	case kText:
		return cell(strings.TrimPrefix(strings.TrimPrefix(f.wanted, "an "), "a "))
	case kWord:
		return "`" + strings.Join(f.words, "`, `") + "`"
	case kBool:
		return "`true`, `false`"
	case kWhole:
		if f.least == f.most {
			return fmt.Sprintf("`%d`", f.least)
		}
		return fmt.Sprintf("whole number, %d to %d", f.least, f.most)
	case kDuration:
		return fmt.Sprintf("duration, %s to %s", brief(f.from), brief(f.to))
	case kList:
		return "list: " + o.types(shape+"[]")
	}
	return string(f.kind)
}

// defaultText prefers words to what the decoder has.
func (o *outlined) defaultText(m meaning) string {
	if m.usual != "" {
		return cell(m.usual)
	}
	if usual := o.usual(); usual != nil {
		return code(strings.Trim(fmt.Sprint(usual), "[]"))
	}
	return ""
}

// exampleText needs no help for words: the first that is not the default.
func (o *outlined) exampleText(m meaning) string {
	if m.example != "" {
		return m.example
	}
	usual := fmt.Sprint(o.usual())
	for _, f := range o.forms {
		words := f.words
		if f.kind == kBool {
			words = []string{"true", "false"}
		}
		for _, w := range words {
			if w != usual {
				return w
			}
		}
	}
	return ""
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + cell(text) + "`"
}

// cell keeps a text in its table cell.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
