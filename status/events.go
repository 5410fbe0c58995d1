package status

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// heartbeat is how often a silent stream shows that it lives.
const heartbeat = 15 * time.Second

// window is the part of the events that a reader asks for.
type window struct {
	after uint64 // only IDs above it
	from  bool   // after was given
	limit uint64 // end after so many, 0 = never
}

// parseWindow reads ?after=, or the Last-Event-ID that a browser sends when
// it reconnects, which is newer and wins, and ?limit=.
func parseWindow(query url.Values, lastID string) (w window, err error) {
	after := query.Get("after")
	if lastID = strings.TrimSpace(lastID); lastID != "" {
		after = lastID
	}
	if after != "" {
		w.from = true
		if w.after, err = strconv.ParseUint(after, 10, 64); err != nil {
			return window{}, fmt.Errorf("read the event ID %.40q: it must be a whole number", after)
		}
	}
	if limit := query.Get("limit"); limit != "" {
		if w.limit, err = strconv.ParseUint(limit, 10, 64); err != nil || w.limit == 0 {
			return window{}, fmt.Errorf("read the limit %.40q: it must be a whole number above 0", limit)
		}
	}
	return w, nil
}

// serveEvents streams the kept events and then each new one. With ?limit=N
// the stream ends after N; without a place to start it begins with the newest
// N of those kept. A reader that does not take an event in time is dropped
// and may come back with Last-Event-ID.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request, stop <-chan struct{}) {
	want, err := parseWindow(r.URL.Query(), r.Header.Get("Last-Event-ID"))
	if err != nil {
		plain(w, http.StatusBadRequest, err.Error())
		return
	}
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		w.Header().Set("Retry-After", "5")
		plain(w, http.StatusServiceUnavailable, "too many readers of events; try again later")
		return
	}
	if kept := s.opts.Board.Events(0); !want.from && want.limit > 0 && uint64(len(kept)) > want.limit {
		want.after = kept[uint64(len(kept))-want.limit].ID - 1
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy in between must not hold events back
	if r.Method == http.MethodHead {
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	s.stream(w, s.opts.Board.Subscribe(ctx, want.after), want.limit, stop)
}

// stream writes events until the reader is gone, the server stops or limit
// events were written.
func (s *Server) stream(w http.ResponseWriter, events <-chan Event, limit uint64, stop <-chan struct{}) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // the reader has nothing more to say
	send := func(text string) bool {
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
		_, err := w.Write([]byte(text))
		return err == nil && control.Flush() == nil
	}
	alive := time.NewTicker(heartbeat)
	defer alive.Stop()
	ok := send("retry: 1000\n\n")
	for sent := uint64(0); ok; {
		select {
		case e, open := <-events:
			if !open {
				return
			}
			ok = send(frame(e))
			if sent++; sent == limit {
				return
			}
		case <-alive.C:
			ok = send(": alive\n\n")
		case <-stop:
			return
		}
	}
}

// frame is one event in the form of the HTML standard, section 9.2. JSON has
// no line breaks of its own; the kind is a word of ours, but checked.
func frame(e Event) string {
	data, err := json.Marshal(e)
	if err != nil { // cannot be: strings and numbers
		return ": " + oneLine(err.Error()) + "\n\n"
	}
	return fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", e.ID, oneLine(e.Kind), data)
}
