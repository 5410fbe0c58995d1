package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// asNetwork reads a network as a prefix, or one address. A prefix with bits
// behind its end is refused: something else was meant.
func asNetwork(v value) (netip.Prefix, bool) {
	return parsed("a network", func(text string) (netip.Prefix, *refusal) {
		if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
			return netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
		}
		p, err := netip.ParsePrefix(text)
		switch {
		case err != nil || p.Addr().Is4In6():
			return p, &refusal{"is not a network", "as in 10.0.0.0/8 or 2001:db8::/32"}
		case p != p.Masked():
			return p, &refusal{"has bits behind its prefix", "write " + p.Masked().String()}
		}
		return p, nil
	})(v)
}

// asSize reads a number of bytes with its unit.
func asSize(v value) (int64, bool) {
	const most = 1 << 50
	return parsed("a size such as 10MiB", func(text string) (int64, *refusal) {
		for _, unit := range []struct {
			name  string
			shift uint
		}{{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"B", 0}} {
			if number, ok := strings.CutSuffix(text, unit.name); ok {
				n, err := strconv.ParseInt(number, 10, 64)
				if err != nil || n < 1 || n > most>>unit.shift {
					break
				}
				return n << unit.shift, nil
			}
		}
		return 0, &refusal{"is not a size", "write it as 512KiB, 10MiB or 2GiB"}
	})(v)
}

// asHeaderName reads the name of a header field and gives it HTTP's usual case.
func asHeaderName(v value) (string, bool) { return parsed("the name of a header", parseHeaderName)(v) }

func parseHeaderName(text string) (string, *refusal) {
	name := textproto.CanonicalMIMEHeaderKey(text)
	switch {
	case !fieldForm.MatchString(text):
		return "", &refusal{"is not the name of a header", "letters, digits and hyphens"}
	case slices.Contains(hopByHop, name):
		return "", &refusal{"says how a message is framed and is HAProxy's own to say", ""}
	}
	return name, nil
}

// asHeaders reads header fields by name. A value may be any scalar and counts
// as it is written; least is the least length of one.
func asHeaders(least int) reader[[]Header] {
	return func(v value) ([]Header, bool) {
		if v.outlines(form{kind: kScalars, wanted: "header fields and their values"}) {
			return nil, false
		}
		if !v.wantMapping() {
			return nil, false
		}
		var list []Header
		first, before := make(map[string]value), len(v.l.faults)
		for _, e := range entries([]value{v}) {
			name, why := parseHeaderName(e.name())
			switch other, twice := first[name]; {
			case why != nil:
				e.l.faultAt(e.keyPos(), e.path, "%s %w", quote(e.name()), why).Hint = why.hint
			case e.node.Kind != yaml.ScalarNode || e.node.ShortTag() == "!!null":
				e.faultf("wanted the value of a header, found %s", e.found())
			case !fieldText.MatchString(e.node.Value) || len(e.node.Value) < least || strings.TrimSpace(e.node.Value) != e.node.Value:
				e.faultf("%s is not the value of a header", quote(e.node.Value)).Hint = "printable ASCII of at most 1000 characters, no space at either end"
			case twice:
				e.l.faultAt(e.keyPos(), e.path, "%s is given twice, first at %s", name, other.keyPos())
			}
			first[name] = e
			list = append(list, Header{name, e.node.Value})
		}
		slices.SortFunc(list, func(a, b Header) int { return cmp.Compare(a.Name, b.Name) })
		return list, len(v.l.faults) == before
	}
}

// maxPage is the most a page may hold: HAProxy answers from one buffer.
const maxPage = 15 << 10

// pageStatus are the statuses HAProxy answers with itself.
var pageStatus = []int{400, 401, 403, 404, 405, 407, 408, 410, 411, 413, 421, 422, 425, 429, 500, 501, 502, 503, 504}

// readMaintenance reads true, or the page that is shown.
func readMaintenance(v value, h *HTTP) {
	if v.node.Kind != yaml.MappingNode {
		into(&h.Maintenance, asBool)(v)
		return
	}
	h.Maintenance = true
	object([]value{v}, keys{"page_file": func(f value) { h.addPage(503, f) }}, "page_file")
}

// readPages reads pages by the status they stand for.
func readPages(v value, h *HTTP) {
	if v.outlines(form{kind: kScalars, wanted: "statuses and files with their pages"}) || !v.wantMapping() {
		return
	}
	for _, e := range entries([]value{v}) {
		status, err := strconv.Atoi(e.name())
		if err != nil || !slices.Contains(pageStatus, status) {
			e.l.faultAt(e.keyPos(), e.path, "%s is not a status that HAProxy answers with itself", quote(e.name())).
				Hint = "one of " + strings.Trim(strings.ReplaceAll(fmt.Sprint(pageStatus), " ", ", "), "[]")
			continue
		}
		h.addPage(status, e)
	}
}

func (h *HTTP) addPage(status int, v value) {
	data, ok := asFile(v)
	if !ok {
		return
	}
	if len(data) > maxPage {
		v.faultf("the page has %d bytes, HAProxy can answer with %d", len(data), maxPage).Hint = "link pictures and styles instead of including them"
		return
	}
	h.Pages = append(h.Pages, Page{status, data})
}
