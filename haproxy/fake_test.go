package haproxy

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// fake is a tiny HAProxy behind a stats socket. It answers in the words of
// 2.6, and fails the test where the real one would suffer: a server added
// twice, deleted outside maint, readied without its check.
type fake struct {
	t       testing.TB
	path    string
	mu      sync.Mutex
	servers map[string]*fakeServer // backend/server
	entries map[string]map[string]string
	pinned  map[string]bool // servers with connections: not deletable
	refuse  string          // commands with this word fail
	lines   int
}

type fakeServer struct {
	state, address, weight string
	checked                bool
}

func newFake(t testing.TB) *fake {
	dir, err := os.MkdirTemp("/tmp", "haproxy-fake-")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, path: filepath.Join(dir, "s"), servers: map[string]*fakeServer{}, entries: map[string]map[string]string{}, pinned: map[string]bool{}}
	n, err := net.Listen("unix", f.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close(); os.RemoveAll(dir) })
	go func() {
		for {
			conn, err := n.Accept()
			if err != nil {
				return
			}
			f.serve(conn)
		}
	}()
	return f
}

// load gives the fake what a HAProxy started with want would have.
func (f *fake) load(want Config) {
	for _, b := range want.Backends {
		for _, s := range b.Servers {
			f.servers[b.Name+"/"+s.Name] = &fakeServer{string(s.State), s.target(), fmt.Sprint(s.Weight), true}
		}
	}
	for _, front := range want.Frontends {
		f.entries[front.mapName()] = map[string]string{}
		for _, e := range front.entries() {
			f.entries[front.mapName()][e.key] = e.value
		}
	}
}

func (f *fake) serve(conn net.Conn) {
	defer conn.Close()
	line, err := bufio.NewReaderSize(conn, 1<<20).ReadString('\n')
	if err != nil {
		return
	}
	if len(line) > 16<<10 {
		f.t.Errorf("a line of %d bytes exceeds HAProxy's buffer", len(line))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines++
	prompt := false
	for command := range strings.SplitSeq(strings.TrimSuffix(line, "\n"), ";") {
		if command == "quit" {
			return
		}
		prompt = prompt || command == "prompt"
		reply := f.command(command) + "\n"
		if prompt {
			reply += "> "
		}
		fmt.Fprint(conn, reply)
	}
}

func (f *fake) command(command string) string {
	if f.refuse != "" && strings.Contains(command, f.refuse) {
		return "[3]: refused by the test\n"
	}
	w := strings.Fields(command)
	switch {
	case command == "prompt" || command == "set severity-output number":
		return ""
	case strings.HasPrefix(command, "add server "):
		if f.servers[w[2]] != nil {
			f.t.Errorf("%s: it exists already", command)
			return "[3]: Already exists a server with the same name in backend.\n"
		}
		f.servers[w[2]] = &fakeServer{state: "maint", address: w[3], weight: w[slices.Index(w, "weight")+1]}
		return "[6]: New server registered.\n"
	case strings.HasPrefix(command, "del server "):
		s := f.servers[w[2]]
		if s == nil {
			return "[3]: No such server."
		}
		if s.state != "maint" {
			f.t.Errorf("%s: it is %s", command, s.state)
		}
		if f.pinned[w[2]] {
			return "[3]: Server still has connections attached to it, cannot remove it."
		}
		delete(f.servers, w[2])
		return "[6]: Server deleted."
	case strings.HasPrefix(command, "shutdown sessions server "):
		delete(f.pinned, w[3])
		return ""
	case strings.HasPrefix(command, "enable health "):
		if f.servers[w[2]] != nil {
			f.servers[w[2]].checked = true
		}
		return ""
	case strings.HasPrefix(command, "set server "):
		return f.setServer(w)
	case strings.HasPrefix(command, "show servers state"):
		return f.showState(w[3:])
	case len(w) > 3 && w[1] == "map":
		return f.mapCommand(w)
	case len(w) == 3 && w[1] == "map":
		var lines []string
		for key, v := range f.entries[w[2]] {
			lines = append(lines, "0x1 "+key+" "+v+"\n")
		}
		return strings.Join(lines, "")
	}
	f.t.Errorf("unknown command %q", command)
	return "[6]: Unknown command:\n"
}

func (f *fake) setServer(w []string) string {
	s := f.servers[w[2]]
	switch {
	case s == nil:
		return "[3]: No such server.\n"
	case w[3] == "state" && w[4] == "ready" && !s.checked:
		f.t.Errorf("%s readied without its check", w[2])
	case w[3] == "addr":
		s.address = w[4] + ":" + w[6]
		return "[4]: no need to change the addr, port changed from '1' to '2' by 'stats socket command'\n"
	}
	if w[3] == "state" {
		s.state = w[4]
	} else {
		s.weight = w[4]
	}
	return ""
}

func (f *fake) mapCommand(w []string) string {
	m := f.entries[w[2]]
	_, there := m[w[3]]
	switch {
	case m == nil:
		return "[3]: Unknown map identifier. Please use #<id> or <file>.\n"
	case w[0] == "add" && there:
		f.t.Errorf("%v: it would be there twice", w)
	case w[0] != "add" && !there:
		return "[3]: Key not found.\n"
	}
	if w[0] == "del" {
		delete(m, w[3])
	} else {
		m[w[3]] = w[4]
	}
	return ""
}

func (f *fake) showState(only []string) string {
	var b strings.Builder
	b.WriteString("1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_check_result srv_fqdn srv_port\n")
	for name, s := range f.servers {
		backend, server, _ := strings.Cut(name, "/")
		if len(only) > 0 && backend != only[0] {
			continue
		}
		host, port, _ := net.SplitHostPort(s.address)
		admin, op := map[string]int{"ready": 0, "drain": 8, "maint": 1}[s.state], 2
		if s.state == "maint" {
			op = 0
		}
		fmt.Fprintf(&b, "1 %s 1 %s %s %d %d %s 0 - %s\n", backend, server, host, op, admin, s.weight, port)
	}
	return b.String()
}

// String is the fake's whole state.
func (f *fake) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var lines []string
	for name, s := range f.servers {
		lines = append(lines, fmt.Sprintf("%s %s %s %s", name, s.address, s.state, s.weight))
	}
	for _, m := range f.entries {
		for key, v := range m {
			lines = append(lines, key+" -> "+v)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
