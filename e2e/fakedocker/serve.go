package fakedocker

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

const backlog = 256 // events that a subscriber may be behind

// ServeHTTP answers as an engine does: /_ping, /version, /events, /networks,
// /containers/json and /containers/ID/json, with and without a version before.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", "1.41")
	w.Header().Set("Docker-Experimental", "false")
	w.Header().Set("Ostype", "linux")
	w.Header().Set("Server", "Docker/20.10.24+dfsg1 (linux)")
	path := r.URL.Path
	if rest, versioned := strings.CutPrefix(path, "/v1."); versioned {
		_, rest, _ = strings.Cut(rest, "/")
		path = "/" + rest
	}
	w.Header().Set("Content-Type", "application/json")
	switch path {
	case "/_ping":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprint(w, "OK")
	case "/version":
		fmt.Fprint(w, `{"Version":"20.10.24+dfsg1","ApiVersion":"1.41","MinAPIVersion":"1.12","Os":"linux","Arch":"amd64"}`)
	case "/info":
		fmt.Fprint(w, `{"Swarm":{"NodeID":"","LocalNodeState":"inactive"}}`)
	case "/networks":
		_, _ = w.Write(recordedNetworks)
	case "/containers/json":
		_, _ = w.Write(e.list())
	case "/events":
		e.stream(w, r)
	default:
		e.inspect(w, path)
	}
}

func (e *Engine) list() []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.served.Lists++
	var lines [][]byte
	for _, id := range slices.Sorted(maps.Keys(e.up)) {
		lines = append(lines, e.up[id].listed)
	}
	return slices.Concat([]byte("["), bytes.Join(lines, []byte(",")), []byte("]\n"))
}

func (e *Engine) inspect(w http.ResponseWriter, path string) {
	id := strings.TrimSuffix(strings.TrimPrefix(path, "/containers/"), "/json")
	e.mu.Lock()
	e.served.Inspections++
	c, isUp := e.up[id]
	e.mu.Unlock()
	if !isUp {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, `{"message":"No such container: %.64x"}`, id)
		return
	}
	_, _ = w.Write(c.inspected)
}

// stream sends events as they come, chunk by chunk, until the client goes.
// Filters and `since` are not looked at: only what matters is ever told, and
// to nobody who was away.
func (e *Engine) stream(w http.ResponseWriter, r *http.Request) {
	stream := make(chan []byte, backlog)
	e.mu.Lock()
	e.streams[stream] = true
	e.served.Streams++
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		delete(e.streams, stream)
		e.mu.Unlock()
	}()
	out := http.NewResponseController(w)
	_ = out.Flush()
	for {
		select {
		case message := <-stream:
			if _, err := w.Write(message); err != nil || out.Flush() != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}
