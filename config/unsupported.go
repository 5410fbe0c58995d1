package config

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// unsupported lists what the contract has and this program has not yet. Such
// a key is read and checked like any other, and then refused: nothing that
// was asked for is silently left undone. To support it, delete its line.
var unsupported = map[string]struct {
	when func(scalar string) bool
	hint string
}{
	"services.*.udp": {always, ""},
}

// refuseUnsupported reports a value that the table lists.
func (v value) refuseUnsupported() {
	row, ok := unsupported[v.shape]
	if !ok {
		return
	}
	text := ""
	if v.node.Kind == yaml.ScalarNode {
		text = v.node.Value
	}
	if !row.when(text) {
		return
	}
	what := v.shape[strings.LastIndexByte(v.shape, '.')+1:]
	if what = strings.TrimSuffix(what, "[]"); text != "" {
		what += ": " + strings.Trim(quote(text), `"`)
	}
	v.faultf("%s is not supported yet", what).Hint = row.hint
}

func always(string) bool { return true }

// is compares with the words; one that ends in … stands for all that begin like it.
func is(words ...string) func(string) bool {
	return func(scalar string) bool {
		return slices.ContainsFunc(words, func(word string) bool {
			prefix, cut := strings.CutSuffix(word, "…")
			return scalar == word || cut && strings.HasPrefix(scalar, prefix)
		})
	}
}

func isNonZero(scalar string) bool { return strings.Trim(scalar, "0smh") != "" }
