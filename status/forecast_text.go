package status

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// WriteForecast writes what is left after failures, for a person at a
// terminal: what is lost first, then VIPs, services, and who carries how much.
func WriteForecast(w io.Writer, f *Forecast, color bool) error {
	buffered := bufio.NewWriter(w)
	p := &page{w: buffered, color: color}
	head := "without " + strings.Join(f.Failed, ", ")
	if len(f.Failed) == 0 {
		head = "with everything as declared"
	}
	p.line(paint{text: head + ": "}, outcome(f.Lost))
	p.table("VIPS", f.vipRows())
	p.table("SERVICES", f.serviceRows())
	p.table("NODES", shareRows(f.Nodes))
	p.table("HOSTS", shareRows(f.Hosts))
	return buffered.Flush()
}

// outcome is what a failure comes to.
func outcome(lost []string) paint {
	if len(lost) == 0 {
		return paint{good, "no service is lost"}
	}
	return paint{bad, "lost: " + strings.Join(lost, ", ")}
}

func (f *Forecast) vipRows() [][]paint {
	var rows [][]paint
	for _, name := range sorted(f.VIPs) {
		v := f.VIPs[name]
		t, where := good, strings.Join(v.Holders, ", ")
		switch {
		case v.Reason != "":
			t = bad
		case !slices.Equal(v.Holders, v.Before):
			t, where = warn, where+" (was "+orNobody(v.Before)+")"
		}
		heard := v.Reason
		if heard == "" && len(v.Announced) > 0 {
			var words []string
			for _, node := range sorted(v.Announced) {
				words = append(words, strings.Join(v.Prefixes[node], " ")+" by "+node+" to "+orNobody(v.Announced[node]))
			}
			heard = "announced " + strings.Join(words, ", ")
		}
		rows = append(rows, row(t, name, v.HA, "on "+orNobody([]string{where}), heard))
	}
	return rows
}

func (f *Forecast) serviceRows() [][]paint {
	var rows [][]paint
	for _, name := range sorted(f.Services) {
		s := f.Services[name]
		t, state := good, "served"
		switch {
		case !s.Serves && slices.Contains(f.Lost, name):
			t, state = bad, "lost"
		case !s.Serves:
			t, state = off, "not served"
		case len(s.Endpoints) < s.Of:
			t = warn
		}
		rows = append(rows, row(t, name, state, fmt.Sprintf("%d of %d endpoints", len(s.Endpoints), s.Of), s.Reason))
	}
	return rows
}

func shareRows(shares map[string]Share) [][]paint {
	var rows [][]paint
	for _, name := range sorted(shares) {
		s := shares[name]
		t := good
		if s.Share == 0 {
			t = off
		}
		was := ""
		if percent(s.Share) != percent(s.Before) {
			was = "was " + percent(s.Before)
		}
		rows = append(rows, row(t, name, percent(s.Share), was))
	}
	return rows
}

func percent(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }

func orNobody(names []string) string {
	if text := strings.Join(names, ", "); text != "" {
		return text
	}
	return "nobody"
}

// WriteSurvey writes every single failure with what it costs, the worst first.
func WriteSurvey(w io.Writer, s *Survey, color bool) error {
	buffered := bufio.NewWriter(w)
	p := &page{w: buffered, color: color}
	var rows [][]paint
	for _, lossy := range []bool{true, false} {
		for _, one := range s.Failures {
			if len(one.Lost) > 0 != lossy {
				continue
			}
			o := outcome(one.Lost)
			moved := ""
			if len(one.Moved) > 0 {
				moved = "moves " + strings.Join(one.Moved, ", ")
			}
			rows = append(rows, []paint{{o.tone, o.tone.Shape() + " " + one.Failed}, o, {text: moved}})
		}
	}
	p.rows("", rows)
	p.line()
	p.line(paint{text: fmt.Sprintf("%d of %d single failures lose a service", s.Lossy, len(s.Failures))})
	return buffered.Flush()
}
