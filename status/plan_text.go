package status

import (
	"bufio"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
)

// WritePlan writes a plan for a person at a terminal: what was declared
// differently, then what each node does about it; nodes that do the same share
// a paragraph. Files follow at the end.
func WritePlan(w io.Writer, plan *Plan, color bool) error {
	buffered := bufio.NewWriter(w)
	p := &page{w: buffered, color: color}
	p.line(paint{text: "revision " + plan.From + " → " + plan.To})
	if !plan.Changed {
		p.line(paint{good, "nothing would change"})
		return buffered.Flush()
	}
	p.changes(plan.Changes)
	for _, group := range plan.groups() {
		p.nodePlan(group)
	}
	for _, note := range plan.Notes {
		p.line()
		p.line(paint{off, "note: " + note})
	}
	for _, n := range plan.Nodes {
		for _, f := range n.Files {
			p.line()
			p.line(paint{off, n.Node + ": " + f.Name})
			p.diff(f.Diff)
		}
	}
	return buffered.Flush()
}

// signs of what a revision does to a thing.
var signs = map[string]paint{Added: {good, "+ "}, Changed: {warn, "~ "}, Removed: {bad, "- "}}

func (p *page) changes(changes []Change) {
	if len(changes) == 0 {
		return
	}
	p.line()
	for _, c := range changes {
		head := []paint{signs[c.Action], {text: oneLine(strings.TrimSpace(c.Kind + " " + c.Name))}}
		if c.Raw {
			head = append(head, paint{warn, " (raw lines)"})
		}
		p.line(head...)
		var rows [][]paint
		for _, k := range c.Keys {
			rows = append(rows, []paint{{text: k.Key + ":"}, {text: k.told()}})
		}
		p.rows("    ", rows)
	}
}

func (k KeyChange) told() string {
	switch {
	case k.Old == "":
		return k.New + " (new)"
	case k.New == "":
		return "was " + k.Old
	}
	return k.Old + " → " + k.New
}

// group is what several nodes do alike.
type group struct {
	NodePlan
	nodes []string
}

// groups puts together the nodes that do the same, in order.
func (plan *Plan) groups() []group {
	var groups []group
	for _, n := range plan.Nodes {
		name := n.Node
		n.Node, n.Files = "", nil
		same := func(g group) bool { return reflect.DeepEqual(g.NodePlan, n) }
		if i := slices.IndexFunc(groups, same); i >= 0 {
			groups[i].nodes = append(groups[i].nodes, name)
			continue
		}
		groups = append(groups, group{n, []string{name}})
	}
	return groups
}

func (p *page) nodePlan(g group) {
	p.line()
	head := strings.Join(g.nodes, ", ")
	switch {
	case g.Empty():
		p.line(paint{text: head + ": "}, paint{off, "nothing to do"})
		return
	case g.Action != "":
		p.line(signs[g.Action], paint{text: head + " is " + g.Action})
	default:
		p.line(paint{text: head})
	}
	var rows [][]paint
	for _, c := range g.Components {
		rows = append(rows, []paint{{text: c.Component}, {c.tone(), c.Action}, {text: brief(c.Causes)}})
	}
	p.rows("  ", rows)
	for _, set := range g.sets() {
		for _, line := range set.lines() {
			p.line(paint{text: "  "}, signs[line.action], paint{text: oneLine(line.text)})
		}
	}
	for _, notice := range g.Clients {
		p.line(paint{warn, "  ! "}, paint{text: oneLine(notice)})
	}
}

func (c ComponentPlan) tone() tone {
	switch c.Action {
	case "none":
		return off
	case "runtime update", "start", "started":
		return good
	}
	return warn
}

// sets are the node's sets with the words for their members.
func (n NodePlan) sets() []SetChange {
	var sets []SetChange
	for _, v := range n.VIPs {
		v.Name = "VIP " + v.Name + ": address"
		sets = append(sets, v)
	}
	for _, e := range n.Endpoints {
		e.Name = "service " + e.Name + ": endpoint"
		sets = append(sets, e)
	}
	prefixes, peers := n.Prefixes, n.Peers
	prefixes.Name, peers.Name = "prefix", "peer"
	return append(sets, prefixes, peers)
}

type setLine struct{ action, text string }

// lines are one for each kind of change.
func (s SetChange) lines() []setLine {
	var lines []setLine
	for _, part := range []setLine{{Added, brief(s.Added)}, {Changed, brief(s.Changed)}, {Removed, brief(s.Removed)}} {
		if part.text != "" {
			lines = append(lines, setLine{part.action, s.Name + " " + part.text})
		}
	}
	return lines
}

// brief lists some of many.
func brief(words []string) string {
	const few = 8
	if len(words) > few {
		return fmt.Sprintf("%s and %d more", strings.Join(words[:few], ", "), len(words)-few)
	}
	return strings.Join(words, ", ")
}

// diff colours a unified diff.
func (p *page) diff(text string) {
	for line := range strings.Lines(text) {
		t := tone("")
		switch {
		case strings.HasPrefix(line, "---"), strings.HasPrefix(line, "+++"), strings.HasPrefix(line, "@@"):
			t = off
		case strings.HasPrefix(line, "+"):
			t = good
		case strings.HasPrefix(line, "-"):
			t = bad
		}
		p.line(paint{t, strings.TrimSuffix(line, "\n")})
	}
}

// WritePlanMarkdown writes a plan as the comment on a pull request.
func WritePlanMarkdown(w io.Writer, plan *Plan) error {
	buffered := bufio.NewWriter(w)
	say := func(format string, args ...any) { fmt.Fprintf(buffered, format+"\n", args...) }
	say("### vipilot plan: %s → %s\n", quoted(plan.From), quoted(plan.To))
	if !plan.Changed {
		say("Nothing would change.")
		return buffered.Flush()
	}
	for _, c := range plan.Changes {
		say("- **%s** %s %s", c.Action, c.Kind, quoted(c.Name))
		for _, k := range c.Keys {
			say("  - %s: %s", quoted(k.Key), quoted(k.told()))
		}
	}
	for _, g := range plan.groups() {
		say("\n**%s**\n", strings.Join(g.nodes, ", "))
		if g.Empty() {
			say("Nothing to do.")
			continue
		}
		say("| component | action | why |\n|---|---|---|")
		for _, c := range g.Components {
			say("| %s | %s | %s |", c.Component, c.Action, quoted(brief(c.Causes)))
		}
		say("")
		for _, set := range g.sets() {
			for _, line := range set.lines() {
				say("- %s: %s", line.action, quoted(line.text))
			}
		}
		for _, notice := range g.Clients {
			say("- ⚠️ %s", quoted(notice))
		}
	}
	for _, note := range plan.Notes {
		say("\n> %s", quoted(note))
	}
	for _, n := range plan.Nodes {
		for _, f := range n.Files {
			say("\n<details><summary>%s: <code>%s</code></summary>\n\n````diff\n%s\n````\n\n</details>", n.Node, f.Name, strings.ReplaceAll(f.Diff, "````", "` ` ` `"))
		}
	}
	return buffered.Flush()
}

// quoted is text as code, safe in a list and in a table whatever it holds.
func quoted(text string) string {
	if text = oneLine(text); text == "" {
		return ""
	}
	return "`" + strings.NewReplacer("`", "'", "|", "¦").Replace(text) + "`"
}
