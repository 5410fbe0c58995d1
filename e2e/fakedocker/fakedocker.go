// Package fakedocker is a Docker engine that runs nothing: its API, as far as
// vipilot asks for it, over real HTTP on whatever listener it is given. Every
// container is the recorded answer of a real engine (Docker 20.10, API 1.41)
// to inspect and list under another id, name, address, port and label; so what
// a client has to read is as long as in life. It is for numbers of engines
// that no machine can run.
//
//	e := fakedocker.New("app1")
//	e.Run(fakedocker.Container{Name: "web-1", Service: "web", Port: 20000})
//	go http.Serve(listener, e)
//	at := e.Stop("web-1")
package fakedocker

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"time"
)

//go:embed recorded/container.json
var recordedContainer []byte

//go:embed recorded/summary.json
var recordedSummary []byte

//go:embed recorded/networks.json
var recordedNetworks []byte

// What differs between containers, as the recording has it.
const (
	recordedID      = "668abd8842ab386505d2399cac0f4d82237da1d3dc226e3faec5f258cee80c0e"
	recordedName    = "bridge_published"
	recordedPort    = "18080"
	recordedAddress = "172.17.0.2"
	recordedLabel   = `"app":"todo"`
	recordedWeight  = `,"vipilot.weight":"10"`
	recordedStart   = "2026-11-21T02:41:10.359788027Z"
)

// Container is what a caller chooses of one.
type Container struct {
	Name    string // Docker's rules apply: it goes into JSON as it is
	Service string // the value of its label app
	Port    uint16 // published for its port 8080 on all addresses
}

// Engine is one engine. Its methods may be called from several goroutines.
type Engine struct {
	name string

	mu      sync.Mutex
	up      map[string]running // by container id; what stopped is gone
	started int                // containers so far
	streams map[chan []byte]bool
	served  Served
}

// Served counts what the engine answered.
type Served struct{ Lists, Inspections, Streams int }

// running is a container as the API shows it, made when it starts.
type running struct {
	Container
	inspected, listed []byte
}

// New makes an engine without containers. Engines of different names give out
// different container ids.
func New(name string) *Engine {
	return &Engine{name: name, up: make(map[string]running), streams: make(map[chan []byte]bool)}
}

// Run starts a container and tells the subscribers; a running one of that name
// is left alone. It returns the moment before they were told.
func (e *Engine) Run(c Container) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	id := e.id(c.Name)
	if _, isUp := e.up[id]; isUp {
		return time.Now()
	}
	e.started++
	now := time.Now()
	e.up[id] = running{c, e.render(recordedContainer, id, c, now), e.render(recordedSummary, id, c, now)}
	return e.tell("start", id, c.Name, "")
}

// Signal tells the subscribers that a container was sent SIGTERM, the first
// sign that it will stop, and returns the moment before.
func (e *Engine) Signal(name string) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tell("kill", e.id(name), name, `,"signal":"15"`)
}

// Stop ends and removes a container and returns the moment before the
// subscribers were told.
func (e *Engine) Stop(name string) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	id := e.id(name)
	delete(e.up, id)
	at := e.tell("die", id, name, `,"exitCode":"0"`)
	e.tell("destroy", id, name, "")
	return at
}

// Served is what was answered since the engine was made.
func (e *Engine) Served() Served {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.served
}

// id is a container's id: 64 hexadecimal digits that follow from the names.
func (e *Engine) id(name string) string {
	hash := fnv.New128a()
	hash.Write([]byte(e.name + "/" + name))
	sum := hash.Sum(nil)
	return fmt.Sprintf("%x%x", sum, sum)
}

func (e *Engine) render(recorded []byte, id string, c Container, at time.Time) []byte {
	var compact bytes.Buffer
	_ = json.Compact(&compact, recorded) // an engine answers without white space
	address := fmt.Sprintf("172.%d.%d.%d", 17+e.started>>16&0xf, e.started>>8&0xff, e.started&0xff)
	return []byte(strings.NewReplacer(
		recordedID, id, recordedID[:12], id[:12], recordedName, c.Name, recordedPort, fmt.Sprint(c.Port), `"`+recordedAddress+`"`, `"`+address+`"`,
		recordedLabel, `"app":"`+c.Service+`"`, recordedWeight, "", recordedStart, at.UTC().Format(time.RFC3339Nano),
	).Replace(compact.String()))
}

// tell sends one event, in the form of API 1.41, to every subscriber. One that
// is far behind loses it, as with a real engine.
func (e *Engine) tell(action, id, name, more string) time.Time {
	at := time.Now()
	message := fmt.Appendf(nil, `{"status":%q,"id":%q,"from":"vipilot/echo:1","Type":"container","Action":%q,`+
		`"Actor":{"ID":%q,"Attributes":{"image":"vipilot/echo:1","name":%q%s}},"scope":"local","time":%d,"timeNano":%d}`+"\n",
		action, id, action, id, name, more, at.Unix(), at.UnixNano())
	for stream := range e.streams {
		select {
		case stream <- message:
		default:
		}
	}
	return at
}
