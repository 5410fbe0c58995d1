package config

import (
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

//go:embed reference/*.txt
var referenceTexts embed.FS

// meaning is what the reference says about one key beyond what the decoder knows.
type meaning struct {
	shape   string
	says    string
	usual   string // default in words, where the decoder has none to show
	example string // YAML
}

// meanings reads reference/*.txt, whose order is that of the documentation:
//
//	services.*.http.port: Port of plain HTTP.
//	  default: in words, only where the decoder does not show it
//	  example: 8080
func meanings() ([]meaning, error) {
	var all []meaning
	files, err := referenceTexts.ReadDir("reference")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		data, err := referenceTexts.ReadFile("reference/" + file.Name())
		if err != nil {
			return nil, err
		}
		for i, line := range strings.Split(strings.TrimRight(string(data), "\n"), "\n") {
			key, text, ok := strings.Cut(line, ": ")
			switch {
			case ok && key == "  example" && len(all) > 0:
				all[len(all)-1].example = text
			case ok && key == "  default" && len(all) > 0:
				all[len(all)-1].usual = text
			case ok && !strings.HasPrefix(key, " "):
				all = append(all, meaning{shape: key, says: text})
			default:
				return nil, fmt.Errorf("config/reference/%s:%d: wanted `key: meaning`, `  default: …` or `  example: …`", file.Name(), i+1)
			}
		}
	}
	return all, nil
}

// patterns of JSON Schema for what the decoder checks by code.
const (
	durationPattern = `^([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))*$|^0$`
	percentPattern  = `^(100|[0-9]{1,2})%$`
)

// Schema gives the JSON Schema (2020-12) of one configuration file, for editors
// and other tools. It is made from what the decoder takes. A file that passes it
// may still have faults that only [Load] finds.
func Schema() ([]byte, error) {
	all, err := meanings()
	if err != nil {
		return nil, err
	}
	s := schema{outline: describeKeys(), meanings: make(map[string]meaning)}
	for _, m := range all {
		s.meanings[m.shape] = m
	}
	root := s.of("")
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "vipilot configuration"
	data, err := json.MarshalIndent(root, "", "  ")
	return append(data, '\n'), err
}

// schema writes an outline as JSON Schema.
type schema struct {
	outline  outline
	meanings map[string]meaning
}

type schemaNode = map[string]any

// of gives the schema of the value with that shape.
func (s schema) of(shape string) schemaNode {
	at, ok := s.outline[shape]
	if !ok {
		return schemaNode{}
	}
	var forms []any
	for _, f := range at.forms {
		forms = append(forms, s.form(shape, f))
	}
	out := schemaNode{"anyOf": forms}
	if len(forms) == 1 {
		out = forms[0].(schemaNode)
	}
	m := s.meanings[shape]
	if m.says != "" {
		out["description"] = m.says
	}
	if m.usual != "" {
		out["description"] = m.says + " Default: " + m.usual + "."
	} else if usual := at.usual(); usual != nil {
		out["default"] = usual
	}
	return out
}

// form gives the schema of one way to write the value.
func (s schema) form(shape string, f form) schemaNode {
	switch f.kind {
	case kBool:
		return schemaNode{"type": "boolean"}
	case kWord:
		return schemaNode{"enum": f.words}
	case kWhole:
		return schemaNode{"type": "integer", "minimum": f.least, "maximum": f.most}
	case kDuration:
		return schemaNode{"anyOf": []any{schemaNode{"type": "string", "pattern": durationPattern}, schemaNode{"const": 0}}}
	case kPercent:
		return schemaNode{"type": "string", "pattern": percentPattern}
	case kList:
		return schemaNode{"type": "array", "items": s.of(shape + "[]"), "minItems": f.least, "uniqueItems": true}
	case kScalars:
		return schemaNode{"type": []string{"object", "null"}, "additionalProperties": schemaNode{"type": []string{"string", "number", "boolean"}}}
	case kNames:
		return schemaNode{
			"type":                 []string{"object", "null"},
			"propertyNames":        schemaNode{"pattern": nameForm.String()},
			"additionalProperties": s.of(shape + ".*"),
		}
	case kMapping:
		return s.mapping(shape, f)
	}
	return schemaNode{"type": "string"}
}

// mapping lets a key without a value stand for an empty mapping, unless
// something must be in it.
func (s schema) mapping(shape string, f form) schemaNode {
	properties := make(schemaNode)
	for _, key := range f.keys {
		properties[key] = s.of(strings.TrimPrefix(shape+"."+key, "."))
	}
	out := schemaNode{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
	if len(f.required) > 0 {
		out["type"], out["required"] = "object", slices.Sorted(slices.Values(f.required))
	}
	return out
}
