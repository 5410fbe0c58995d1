package haproxy

import (
	"fmt"
	"slices"
	"strings"
)

// closingMap holds one entry that says whether clients are asked to reconnect.
// A map changes at run time on every version, a variable of the process does not.
const (
	closingMap = "maps/closing.map"
	closingKey = "closing"
)

// closes says whether there is a frontend that could ask clients.
func (c Config) closes() bool {
	return slices.ContainsFunc(c.Frontends, func(f Frontend) bool { return f.Mode == HTTP })
}

func (c Config) closingEntry() entry {
	value := "no"
	if c.Closing {
		value = "yes"
	}
	return entry{closingKey, value}
}

// writeClosing writes the rule that ends a client's connection after the
// answer to a request, so that its next request finds the node that has the
// address by then. HTTP/2 has no such header: its connections stay.
func writeClosing(w *strings.Builder) {
	fmt.Fprintf(w, "  http-after-response set-header Connection close if { str(%s),map_str(%s,no) -m str yes }\n", closingKey, closingMap)
}

// closing adds the command that makes HAProxy's entry ours; have is what its
// map holds, nothing where that is not known.
func (p *plan) closing(have []entry, want Config) {
	if e := want.closingEntry(); want.closes() && !slices.Contains(have, e) {
		p.requests = append(p.requests, request{text: "set map " + closingMap + " " + e.key + " " + e.value, owner: closingMap})
	}
}
