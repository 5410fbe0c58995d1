// Package cyclonedx holds bills of materials against their standard, for tests.
//
//	standard, err := cyclonedx.Load()
//	…
//	if err := standard.Check(bill); err != nil { t.Error(err) }
package cyclonedx

import (
	"bytes"
	"embed"
	"path"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

//go:embed testdata/*.json
var schemas embed.FS

// Standard is CycloneDX 1.5. Its methods may be called from several goroutines.
type Standard struct{ schema *jsonschema.Schema }

// Load reads the standard's schemas; testdata/README.md says where they are from.
func Load() (Standard, error) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.UseLoader(loader{})
	schema, err := c.Compile("http://cyclonedx.org/schema/bom-1.5.schema.json")
	return Standard{schema}, err
}

// Check says what of a bill, in JSON, is not as the standard wants it.
func (s Standard) Check(bill []byte) error {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(bill))
	if err != nil {
		return err
	}
	return s.schema.Validate(document)
}

// loader gives schemas by their addresses, without asking the network.
type loader struct{}

func (loader) Load(url string) (any, error) {
	data, err := schemas.ReadFile("testdata/" + path.Base(url))
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(data))
}
