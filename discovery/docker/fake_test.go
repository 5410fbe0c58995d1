package docker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"

	"github.com/vipilot/vipilot/discovery"
)

// fakeEngine is a small Docker engine on a unix socket: containers on one
// bridge with addresses given out anew at once, events with `since`, and faults.
type fakeEngine struct {
	socket string
	server *httptest.Server

	mu         sync.Mutex
	containers map[string]*fakeContainer // by name
	history    []events.Message
	streams    map[chan events.Message]bool // true for those of the Swarm
	clock      time.Time
	silent     bool           // events are lost
	hung       chan struct{}  // closed when it is not hung
	asked      map[string]int // requests by kind
	after      map[string]func()
	swarm      *fakeSwarm
}

type fakeContainer struct {
	id, name string
	state    string
	health   string
	ip       int // last octet, 0 = none
	started  time.Time
}

func newFake(t *testing.T) *fakeEngine {
	dir, err := os.MkdirTemp("", "vipilot")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	f := &fakeEngine{
		socket: filepath.Join(dir, "d.sock"), containers: map[string]*fakeContainer{}, streams: map[chan events.Message]bool{},
		clock: time.Now(), hung: make(chan struct{}), asked: map[string]int{}, after: map[string]func(){},
	}
	close(f.hung)
	f.listen(t)
	t.Cleanup(func() { f.stop() })
	return f
}

func (f *fakeEngine) url() string { return "unix://" + f.socket }

func (f *fakeEngine) listen(t *testing.T) {
	l, err := net.Listen("unix", f.socket)
	if err != nil {
		t.Fatal(err)
	}
	f.server = &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(f.serve)}}
	f.server.Start()
}

// stop ends the engine; its containers live on.
func (f *fakeEngine) stop() {
	if f.server != nil {
		f.server.CloseClientConnections()
		f.server.Close()
		f.server = nil
	}
}

func (f *fakeEngine) hang(yes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if yes {
		f.hung = make(chan struct{})
	} else {
		close(f.hung)
	}
}

var versionPrefix = regexp.MustCompile(`^/v1\.\d+`)

func (f *fakeEngine) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	hung := f.hung
	f.mu.Unlock()
	select {
	case <-hung:
	case <-r.Context().Done():
		return
	}
	w.Header().Set("Api-Version", "1.41")
	w.Header().Set("Content-Type", "application/json")
	path := versionPrefix.ReplaceAllString(r.URL.Path, "")
	switch id, isInspect := strings.CutSuffix(path, "/json"); {
	case path == "/_ping":
	case path == "/info", path == "/swarm", path == "/services", path == "/nodes", path == "/tasks":
		f.mu.Lock()
		kind := strings.TrimPrefix(path, "/")
		code, body := f.swarm.answer(kind, r.FormValue("filters"))
		f.mu.Unlock()
		f.reply(w, kind, code, body)
	case path == "/events":
		f.stream(w, r)
	case path == "/networks":
		f.reply(w, "networks", http.StatusOK, []network.Inspect{{ID: "n1", Name: "bridge", Driver: "bridge"}})
	case path == "/containers/json":
		f.mu.Lock()
		var all []container.Summary
		for _, c := range f.containers {
			all = append(all, c.summary())
		}
		f.mu.Unlock()
		f.reply(w, "list", http.StatusOK, all)
	case isInspect:
		f.mu.Lock()
		code, body := http.StatusNotFound, any(map[string]string{"message": "no such container"})
		for _, c := range f.containers {
			if c.id == filepath.Base(id) {
				code, body = http.StatusOK, c.inspect()
			}
		}
		f.mu.Unlock()
		f.reply(w, "inspect", code, body)
	}
}

// reply answers with what was true a moment ago: a hook may change it meanwhile.
func (f *fakeEngine) reply(w http.ResponseWriter, kind string, code int, body any) {
	f.mu.Lock()
	f.asked[kind]++
	hook := f.after[kind]
	delete(f.after, kind)
	f.mu.Unlock()
	if hook != nil {
		hook()
	}
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

func (f *fakeEngine) stream(w http.ResponseWriter, r *http.Request) {
	ch := make(chan events.Message, 4096)
	f.mu.Lock()
	if since := r.FormValue("since"); since != "" {
		sec, nano, _ := strings.Cut(since, ".")
		s, _ := strconv.ParseInt(sec, 10, 64)
		n, _ := strconv.ParseInt(nano, 10, 64)
		for _, m := range f.history {
			if m.TimeNano >= s*1e9+n {
				ch <- m
			}
		}
	}
	f.streams[ch] = strings.Contains(r.FormValue("filters"), "service")
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.streams, ch)
	}()
	out := json.NewEncoder(w)
	w.(http.Flusher).Flush()
	for {
		select {
		case m, ok := <-ch:
			if !ok {
				return
			}
			_ = out.Encode(m)
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// drop ends all event streams, as a network does.
func (f *fakeEngine) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ch := range f.streams {
		delete(f.streams, ch)
		close(ch)
	}
}

// requests counts the requests of one kind so far.
func (f *fakeEngine) requests(kind string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[kind]
}

func (f *fakeEngine) tick() time.Time {
	f.clock = f.clock.Add(time.Millisecond)
	return f.clock
}

func (f *fakeEngine) tell(c *fakeContainer, action string, more ...string) {
	m := events.Message{Type: events.ContainerEventType, Action: events.Action(action), TimeNano: f.tick().UnixNano()}
	m.Actor = events.Actor{ID: c.id, Attributes: map[string]string{"name": c.name}}
	for i := 0; i+1 < len(more); i += 2 {
		m.Actor.Attributes[more[i]] = more[i+1]
	}
	if f.silent {
		return
	}
	f.history = append(f.history, m)
	for ch, ofSwarm := range f.streams {
		if !ofSwarm {
			ch <- m
		}
	}
}

// do is one Docker operation, "start web"; impossible ones do nothing.
func (f *fakeEngine) do(command string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	words := append(strings.Fields(command), "", "")
	op, name := words[0], words[1]
	c := f.containers[name]
	up := c != nil && c.state != "exited" && c.state != "created"
	switch {
	case op == "start" && !up:
		if c == nil {
			c = &fakeContainer{name: name, id: fmt.Sprintf("%064x", f.tick().UnixNano())}
			f.containers[name] = c
		}
		c.state, c.started, c.ip = "running", f.tick(), f.freeIP()
		if strings.HasPrefix(name, "h") {
			c.health = "starting"
		}
		f.tell(c, "start")
	case op == "kill" && up: // the signal alone; `die` follows when it obeys
		f.tell(c, "kill", "signal", cmp.Or(words[2], "15"))
	case op == "die" && up:
		c.state, c.ip, c.health = "exited", 0, ""
		f.tell(c, "die")
	case op == "pause" && up && c.state == "running":
		c.state = "paused"
		f.tell(c, "pause")
	case op == "unpause" && up && c.state == "paused":
		c.state = "running"
		f.tell(c, "unpause")
	case op == "health" && up && c.health != "":
		c.health = words[2]
		f.tell(c, "health_status: "+c.health)
	case op == "rename" && c != nil && f.containers[words[2]] == nil:
		delete(f.containers, c.name)
		c.name = words[2]
		f.containers[c.name] = c
		f.tell(c, "rename")
	case op == "rm" && c != nil && !up:
		delete(f.containers, name)
		f.tell(c, "destroy")
	}
}

// freeIP gives the lowest address that is free: reuse is the hard case.
func (f *fakeEngine) freeIP() int {
	for ip := 2; ; ip++ {
		if !slices.ContainsFunc(slices.Collect(maps.Values(f.containers)), func(c *fakeContainer) bool { return c.ip == ip }) {
			return ip
		}
	}
}

func (c *fakeContainer) networks() map[string]*network.EndpointSettings {
	n := &network.EndpointSettings{NetworkID: "n1"}
	if c.ip != 0 {
		n.IPAddress, n.IPPrefixLen = fmt.Sprintf("172.17.0.%d", c.ip), 16
	}
	return map[string]*network.EndpointSettings{"bridge": n}
}

func (c *fakeContainer) summary() container.Summary {
	status := "Up"
	if c.health != "" {
		status += " (" + map[string]string{"starting": "health: "}[c.health] + c.health + ")"
	}
	return container.Summary{ID: c.id, Names: []string{"/other/alias", "/" + c.name}, Image: "i", State: c.state, Status: status,
		NetworkSettings: &container.NetworkSettingsSummary{Networks: c.networks()}, Labels: map[string]string{"of": c.id}}
}

func (c *fakeContainer) inspect() container.InspectResponse {
	s := &container.State{Status: c.state, StartedAt: c.started.Format(time.RFC3339Nano)}
	if c.health != "" {
		s.Health = &container.Health{Status: c.health}
	}
	return container.InspectResponse{
		ContainerJSONBase: &container.ContainerJSONBase{ID: c.id, Name: "/" + c.name, State: s, HostConfig: &container.HostConfig{}},
		Config:            &container.Config{Image: "i", ExposedPorts: nat.PortSet{"80/tcp": {}}, Labels: map[string]string{"of": c.id}},
		NetworkSettings:   &container.NetworkSettings{Networks: c.networks()},
	}
}

// watcher receives what an Engine sends.
type watcher struct {
	t      *testing.T
	engine *Engine
	out    chan discovery.Snapshot
	last   discovery.Snapshot
	stop   func()
}

func watch(t *testing.T, opts Options) *watcher {
	t.Helper()
	opts.Host = cmp.Or(opts.Host, "app1")
	e, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := &watcher{t: t, engine: e, out: make(chan discovery.Snapshot)}
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx, w.out) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(w.stop)
	return w
}

// states is a snapshot on one line: name, state, health and last octet of each.
func states(s discovery.Snapshot) string {
	var list []string
	for _, c := range s.Containers {
		text := c.Name + ":" + string(c.State)
		if c.Health != "" {
			text += "/" + string(c.Health)
		}
		for _, n := range c.Networks {
			text += n.IPv4.String()[len("172.17.0"):]
		}
		list = append(list, text)
	}
	if !s.Connected {
		list = append(list, "(stale)")
	}
	return strings.Join(list, " ")
}

// until waits for a snapshot that reads as want.
func (w *watcher) until(want string) discovery.Snapshot {
	w.t.Helper()
	return w.untilIs(want, func(s discovery.Snapshot) bool { return states(s) == want })
}

// longest is how long a test waits for what is to come; only a test that
// fails takes as long.
const longest = time.Minute

// news takes what comes within a time, until it is good, if that is not so already.
func (w *watcher) news(within time.Duration, good func(discovery.Snapshot) bool) {
	w.t.Helper()
	for end := time.After(within); !good(w.last); {
		select {
		case w.last = <-w.out:
			checkSnapshot(w.t, w.last)
		case <-end:
			return
		}
	}
}

func (w *watcher) untilIs(what string, ok func(discovery.Snapshot) bool) discovery.Snapshot {
	w.t.Helper()
	deadline := time.After(longest)
	for {
		select {
		case w.last = <-w.out:
			checkSnapshot(w.t, w.last)
			if ok(w.last) {
				return w.last
			}
		case <-deadline:
			w.t.Fatalf("waited for %q, last snapshot is %q (cause %q, err %v)", what, states(w.last), w.last.Cause, w.last.Err)
		}
	}
}

// checkSnapshot holds every snapshot to what its type promises.
func checkSnapshot(t *testing.T, s discovery.Snapshot) {
	t.Helper()
	if !slices.IsSortedFunc(s.Containers, byName) {
		t.Errorf("not sorted: %s", states(s))
	}
	if s.Connected != s.StaleSince.IsZero() || !s.Connected && s.Err == nil || s.Cause == "" || s.At.IsZero() {
		t.Errorf("connected %v, stale since %v, err %v, cause %q, at %v", s.Connected, s.StaleSince, s.Err, s.Cause, s.At)
	}
	held := map[string]string{}
	for _, c := range s.Containers {
		for _, a := range addresses(c) {
			if held[a] != "" {
				t.Errorf("%s and %s both hold %s: %s", held[a], c.Name, a, states(s))
			}
			held[a] = c.Name
		}
	}
}

// read is what the watcher takes of an answer.
func read(answer container.InspectResponse) (in inspection) {
	data, err := json.Marshal(answer)
	if err == nil {
		err = json.Unmarshal(data, &in)
	}
	if err != nil {
		panic(err)
	}
	return in
}
