package docker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
)

// FuzzConversation is a session with an engine that answers anything: a list,
// one inspection, a stream of events, and the list once more. Whatever is said,
// the view holds containers only, in order, and no address twice.
func FuzzConversation(f *testing.F) {
	list, err := os.ReadFile(filepath.Join("testdata", "list.json"))
	if err != nil {
		f.Fatal(err)
	}
	stream, err := os.ReadFile(filepath.Join("testdata", "28", "stop.jsonl"))
	if err != nil {
		f.Fatal(err)
	}
	for name := range recorded[""] {
		inspection, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(list, inspection, stream)
	}
	f.Add([]byte(`[{"Id":"x","Names":null,"State":"running","NetworkSettings":{"Networks":{"a":null}}},null]`), []byte("null"), []byte(`{}{"Type":"network"}null[]`))
	drivers := recordedDrivers(f, "")
	f.Fuzz(func(t *testing.T, list, inspection, stream []byte) {
		k := newKeeper("app1", slog.New(slog.DiscardHandler), nil)
		k.session = &session{facts: make(chan fact), slots: make(chan struct{})} // its goroutines wait for ever, until the context ends
		k.listing()
		tellList(t, k, list, true)
		at := time.Unix(1_700_000_000, 0)
		for decoder := json.NewDecoder(&reading{ReadCloser: io.NopCloser(bytes.NewReader(stream)), full: allowance{maxEvent, maxCost}, left: allowance{maxEvent, maxCost}, stream: true}); ; {
			var m events.Message
			if decoder.Decode(&m) != nil {
				break
			}
			k.event(t.Context(), m, at)
			answerAll(k, inspection, drivers)
			checkView(t, k.view)
		}
		tellList(t, k, list, false)
		answerAll(k, inspection, drivers)
		checkView(t, k.view)
		if len(k.asked) > 0 || len(k.first) > 0 {
			t.Errorf("everything is answered, and still awaited are %d inspections, %d of the first list", len(k.asked), len(k.first))
		}
	})
}

func tellList(t *testing.T, k *keeper, list []byte, full bool) {
	var all []container.Summary
	if json.Unmarshal(list, &all) == nil {
		k.listed(t.Context(), all, full)
	}
}

// answerAll gives one answer to every question that is open.
func answerAll(k *keeper, answer []byte, drivers map[string]string) {
	c, err := Read(answer, drivers)
	for id, n := range k.asked {
		told := err
		if err == nil && c.ID != id {
			told = errors.New("another container")
		}
		k.inspected(id, n, newRecord(c, "SIGTERM", nil), told, "fuzz")
	}
}

func checkView(t *testing.T, v *view) {
	held := map[string]string{}
	for id, r := range v.byID {
		if id != r.ID || !containerID.MatchString(id) || !isName(r.Name) {
			t.Errorf("%q is container %q, name %q", id, r.ID, r.Name)
		}
		for _, a := range addresses(r.Container) {
			if other := held[a]; other != "" && other != id {
				t.Errorf("%s is held by %.12s and %.12s", a, other, id)
			}
			held[a] = id
		}
	}
	if len(v.sorted) != len(v.byID) || !slices.IsSortedFunc(v.sorted, byName) {
		t.Errorf("%d containers, %d in order", len(v.byID), len(v.sorted))
	}
}

// Events that speak of more containers than an engine has between two lists are
// left to the next list, and those that speak of none are nobody's.
func TestFloodOfEvents(t *testing.T) {
	k := newKeeper("app1", slog.New(slog.DiscardHandler), nil)
	for n := range 2 * maxTouched {
		k.event(t.Context(), events.Message{Type: events.ContainerEventType, Action: events.ActionKill, Actor: events.Actor{ID: fmt.Sprintf("%064x", n), Attributes: map[string]string{"signal": "9"}}}, time.Now())
	}
	k.event(t.Context(), events.Message{Type: events.ContainerEventType, Action: events.ActionStart, Actor: events.Actor{ID: strings.Repeat("x", 1<<20)}}, time.Now())
	if len(k.touched) != maxTouched || len(k.killed) != maxTouched || len(k.heard) != 0 {
		t.Errorf("remembered are %d containers that were spoken of, %d that were killed, %d that were started", len(k.touched), len(k.killed), len(k.heard))
	}
}
