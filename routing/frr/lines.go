package frr

import (
	"slices"
	"strings"
)

// directive is one line of frr.conf and the blocks it stands in.
type directive struct {
	Context []string `json:"context,omitempty"` // e.g. router bgp 65010, address-family ipv4 unicast
	Line    string   `json:"line"`
}

// parse reads a rendered frr.conf: one space more is one block deeper.
func parse(text []byte) []directive {
	var commands []directive
	var blocks []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		words := strings.TrimLeft(line, " ")
		depth := len(line) - len(words)
		if words == "" || words[0] == '!' || strings.HasPrefix(words, "exit") {
			continue
		}
		blocks = append(blocks[:min(depth, len(blocks)):len(blocks)], words)
		commands = append(commands, directive{Context: slices.Clone(blocks[:len(blocks)-1]), Line: words})
	}
	return commands
}

// forDaemon are the commands that a daemon understands.
func forDaemon(daemon string, all []directive) []directive {
	return slices.DeleteFunc(slices.Clone(all), func(c directive) bool { return ownerOf(c) != daemon })
}

// ownerOf is the daemon that a line is for; "" = the head of a block that is
// entered with its lines.
func ownerOf(c directive) string {
	top := c.Line
	if len(c.Context) > 0 {
		top = c.Context[0]
	}
	words := strings.Fields(top)
	switch {
	case words[0] == "router" && words[1] == "bgp":
		return "bgpd"
	case words[0] == "router" && words[1] == "ospf":
		return "ospfd"
	case words[0] == "router" && words[1] == "ospf6":
		return "ospf6d"
	case words[0] == "bfd":
		return "bfdd"
	case words[0] == "interface" && strings.HasPrefix(c.Line, "ip ospf "):
		return "ospfd"
	case words[0] == "interface" && strings.HasPrefix(c.Line, "ipv6 ospf6 "):
		return "ospf6d"
	case words[0] == "interface":
		return ""
	}
	for mark, daemon := range map[string]string{
		" vipilot-ospf4": "ospfd", " vipilot-ospf6": "ospf6d", " vipilot-bgp": "bgpd", " vipilot-to-": "bgpd",
	} {
		if strings.Contains(top, mark) {
			return daemon
		}
	}
	return ""
}

// diff gives the commands that lead from have to want: removals first, the
// last said first. What a new line overwrites is not removed before, so that
// nothing vanishes in between; a neighbor is left out and taken anew only when
// something that its session depends on differs.
func diff(have, want []directive) []directive {
	had, wanted, keys := texts(have), texts(want), make(map[string]bool, len(want))
	for _, c := range want {
		keys[c.key()] = true
	}
	var out []directive
	if i := slices.IndexFunc(have, isBGP); i >= 0 && !wanted[have[i].text()] && slices.ContainsFunc(want, isBGP) { // another ASN
		head := have[i].Line
		out = append(out, directive{Line: "no " + head})
		have = slices.DeleteFunc(slices.Clone(have), func(c directive) bool {
			return c.Line == head || len(c.Context) > 0 && c.Context[0] == head
		})
	}
	anew := restarted(have, want)
	for _, c := range slices.Backward(have) {
		who := c.neighbor()
		switch {
		case anew[who]:
			if no := (directive{c.Context[:1], "no neighbor " + who}); !slices.ContainsFunc(out, no.same) {
				out = append(out, no) // takes all that was said of it along
			}
		case wanted[c.text()], keys[c.key()], c.isContainer(), c.inGoneBlock(wanted):
		default:
			out = append(out, directive{c.Context, "no " + c.Line})
		}
	}
	for _, c := range want {
		if !had[c.text()] || anew[c.neighbor()] {
			out = append(out, c)
		}
	}
	return out
}

func isBGP(c directive) bool { return len(c.Context) == 0 && strings.HasPrefix(c.Line, "router bgp ") }

func texts(commands []directive) map[string]bool {
	set := make(map[string]bool, len(commands))
	for _, c := range commands {
		set[c.text()] = true
	}
	return set
}

// restarted are the neighbors that are gone, or whose session depends on
// something that differs.
func restarted(have, want []directive) map[string]bool {
	old, next := sessions(have), sessions(want)
	out := make(map[string]bool)
	for who, lines := range old {
		out[who] = !slices.Equal(lines, next[who])
	}
	return out
}

// sessions are the lines that each neighbor's session depends on.
func sessions(commands []directive) map[string][]string {
	out := make(map[string][]string)
	for _, c := range commands {
		if who := c.neighbor(); who != "" && len(c.Context) == 1 && !strings.HasPrefix(c.Line, "neighbor "+who+" bfd") {
			out[who] = append(out[who], c.Line)
		}
	}
	return out
}

// text is the whole command as one word for maps.
func (c directive) text() string { return strings.Join(c.Context, "\n") + "\n" + c.Line }

func (c directive) same(other directive) bool { return c.text() == other.text() }

// key is what two commands share when the later overwrites the earlier.
func (c directive) key() string {
	words := strings.Fields(c.Line)
	switch {
	case words[0] == "network", words[0] == "redistribute":
		words = words[:2]
	case slices.Contains(words, "prefix-list"), slices.Contains(words, "message-digest-key"), c.isBlock():
	case words[0] == "neighbor" && slices.Contains(words, "route-map"):
		words[3] = "" // the direction, at the end, stays
	default:
		words = words[:len(words)-1]
	}
	return strings.Join(c.Context, "\n") + "\n" + strings.Join(words, " ")
}

// neighbor is whom a line under router bgp is about.
func (c directive) neighbor() string {
	words := strings.Fields(c.Line)
	if len(c.Context) > 0 && words[0] == "neighbor" {
		return words[1]
	}
	return ""
}

// isContainer: the head of a block that stays as long as its daemon runs.
func (c directive) isContainer() bool {
	first, _, _ := strings.Cut(c.Line, " ")
	return slices.Contains([]string{"router", "interface", "bfd", "address-family"}, first) && (len(c.Context) == 0 || first == "address-family")
}

// isBlock: the head of a block that goes as a whole.
func (c directive) isBlock() bool {
	first, _, _ := strings.Cut(c.Line, " ")
	return len(c.Context) == 0 && first == "route-map" || len(c.Context) == 1 && c.Context[0] == "bfd"
}

// inGoneBlock: the head goes, and takes the line along.
func (c directive) inGoneBlock(wanted map[string]bool) bool {
	if len(c.Context) == 0 {
		return false
	}
	last := len(c.Context) - 1
	head := directive{c.Context[:last], c.Context[last]}
	return head.isBlock() && !wanted[head.text()]
}
