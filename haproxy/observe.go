package haproxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// observed is what HAProxy says of one server.
type observed struct {
	ServerKey
	server Server // Backup is not told
	health Health
	line   string // as it stands in a state file
}

// Bits of srv_admin_state.
const adminMaint, adminDrain = 0x01, 0x08

// parseState reads "show servers state", whose columns are named by a comment
// line. Lines of unknown form are an error: nothing is guessed.
func parseState(text string) ([]observed, error) {
	var column map[string]int
	var width int // a name may be there twice
	var list []observed
	var fields []string // one list for all lines: there may be tens of thousands
	for line := range strings.Lines(text) {
		fields = slices.AppendSeq(fields[:0], strings.FieldsSeq(line))
		switch {
		case len(fields) == 0 || (column == nil && len(fields) == 1 && fields[0] == "1"):
			continue
		case fields[0] == "#":
			column, width = make(map[string]int), len(fields)-1
			for i, name := range fields[1:] {
				column[name] = i
			}
			for _, name := range []string{"be_name", "srv_name", "srv_addr", "srv_port", "srv_fqdn", "srv_op_state", "srv_admin_state", "srv_uweight", "srv_check_result"} {
				if _, ok := column[name]; !ok {
					return nil, fmt.Errorf("read servers state: column %s is missing", name)
				}
			}
			continue
		case column == nil || len(fields) < width:
			return nil, fmt.Errorf("read servers state: unexpected line %q", firstLine(line))
		}
		o, err := parseServer(fields, column)
		if err != nil {
			return nil, err
		}
		if list == nil {
			list = make([]observed, 0, strings.Count(text, "\n"))
		}
		o.line = strings.TrimSpace(line)
		list = append(list, o)
	}
	if column == nil {
		return nil, fmt.Errorf("read servers state: %s", firstLine(text))
	}
	return list, nil
}

func parseServer(fields []string, column map[string]int) (observed, error) {
	at := func(name string) string { return fields[column[name]] }
	var numbers [5]int
	for i, name := range []string{"srv_op_state", "srv_admin_state", "srv_uweight", "srv_check_result", "srv_port"} {
		n, err := strconv.Atoi(at(name))
		if err != nil {
			return observed{}, fmt.Errorf("read servers state: %s is %q", name, at(name))
		}
		numbers[i] = n
	}
	op, admin, weight, result, port := numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
	o := observed{ServerKey: ServerKey{at("be_name"), at("srv_name")}}
	o.server = Server{Name: o.Server, State: Ready, Weight: weight}
	switch {
	case admin&adminMaint != 0:
		o.server.State = Maint
	case admin&adminDrain != 0:
		o.server.State = Drain
	}
	if fqdn := at("srv_fqdn"); fqdn != "-" {
		o.server.Host, o.server.Port = fqdn, uint16(port)
	} else if addr, err := netip.ParseAddr(at("srv_addr")); err == nil {
		o.server.Address = netip.AddrPortFrom(addr, uint16(port))
	} else {
		o.server.Socket = someSocket
	}
	o.health = verdict(op, result, o.server.State)
	return o, nil
}

// verdict is the health of a server: its operational state, or, as a server
// in maint is always stopped, what its last check said.
func verdict(op, checkResult int, state ServerState) Health {
	const failed, passed, conditional = 2, 3, 4
	switch {
	case state != Maint && op != 0:
		return Up
	case state != Maint:
		return Down
	case checkResult == passed || checkResult == conditional:
		return Up
	case checkResult == failed:
		return Down
	}
	return Unknown
}

// someSocket stands for the path of a unix socket, which HAProxy does not tell.
const someSocket = "?"

// isAt reports whether an observed server is where the wanted one is.
func (s Server) isAt(wanted Server) bool {
	return s.target() == wanted.target() || s.Socket == someSocket && wanted.Socket != ""
}

// servers groups what HAProxy says by backend, sorted by name.
func servers(list []observed) map[string][]Server {
	byBackend := make(map[string][]Server)
	for _, o := range list {
		byBackend[o.Backend] = append(byBackend[o.Backend], o.server)
	}
	for _, s := range byBackend {
		slices.SortFunc(s, func(a, b Server) int { return strings.Compare(a.Name, b.Name) })
	}
	return byBackend
}

// stateFile is the server-state file for the next worker: only servers that
// are wanted under the same address, because HAProxy believes the address in
// this file over the one in its configuration.
func stateFile(text string, list []observed, want Config) []byte {
	addresses := make(map[ServerKey]string)
	for _, b := range want.Backends {
		for _, s := range b.Servers {
			if b.Place == AtGate {
				s.Socket = someSocket
			}
			addresses[ServerKey{b.Name, s.Name}] = s.target()
		}
	}
	var out strings.Builder
	for line := range strings.Lines(text) {
		if line == "1\n" || strings.HasPrefix(line, "#") {
			out.WriteString(line)
		}
	}
	for _, o := range list {
		if target, ok := addresses[o.ServerKey]; ok && target == o.server.target() {
			out.WriteString(o.line + "\n")
		}
	}
	return []byte(out.String())
}

// parseInfo reads the "Name: value" lines of "show info".
func parseInfo(text string) map[string]string {
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, v, ok := strings.Cut(line, ":"); ok {
			info[name] = strings.TrimSpace(v)
		}
	}
	return info
}

// processes is what the master says of its workers.
type processes struct {
	worker int   // the current one, 0 = none
	old    []int // finish their sessions
	failed int   // reloads failed in a row
}

// parseProc reads "show proc" of the master; ok is false when the master's own
// line is not there.
func parseProc(text string) (p processes, ok bool) {
	old := false
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case strings.HasPrefix(line, "# "):
			old = strings.HasPrefix(line, "# old")
		case len(fields) > 1 && fields[1] == "master":
			ok = true
			if _, rest, found := strings.Cut(line, "[failed: "); found {
				n, _, _ := strings.Cut(rest, "]")
				p.failed, _ = strconv.Atoi(n)
			}
		case len(fields) > 1 && fields[1] == "worker":
			pid, err := strconv.Atoi(fields[0])
			switch {
			case err != nil:
			case old:
				p.old = append(p.old, pid)
			case p.worker == 0:
				p.worker = pid
			}
		}
	}
	return p, ok
}

// complaints keeps what HAProxy's alerts say in a text, without prefixes and
// summaries; the whole text when there is none.
func complaints(text string) string {
	var kept []string
	alert := false
	for line := range strings.Lines(text) {
		said := strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") { // else the line continues the one before
			alert = strings.HasPrefix(line, "[ALERT]")
			_, said, _ = strings.Cut(said, ") : ")
			said = strings.TrimPrefix(said, "config : ")
		}
		if alert && said != "" && !strings.HasPrefix(said, "Error(s) found in") && !strings.HasPrefix(said, "Fatal errors found in") {
			kept = append(kept, said)
		}
	}
	if len(kept) == 0 {
		return strings.TrimSpace(text)
	}
	return strings.Join(kept, "; ")
}
