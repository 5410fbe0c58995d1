package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
)

// Figures that clients do not see: what the router is told and when, with both
// controllers dead, for nobody needs them then.
func TestFigures(t *testing.T) {
	if os.Getenv("VIPILOT_E2E") == "1" && !everything() {
		return // they are for a quiet machine
	}
	m := modes()[1]
	m.smallDisks = false // its files are written from outside
	s := open(t, m)
	haproxy := s.haproxy()
	s.LB1.KillController()
	s.LB2.KillController()
	figures := make(map[string]time.Duration)
	for _, one := range []struct {
		name    string
		measure func(*scene, map[string]time.Duration)
	}{
		{"role change", roleChange}, {"prefixes", prefixes},
		{"HAProxy killed", func(s *scene, figures map[string]time.Duration) { s.withdrawal(haproxy, figures) }},
	} {
		t.Run(one.name, func(t *testing.T) { one.measure(s.with(t), figures) })
	}
	t.Log(figures)
	for name, most := range map[string]time.Duration{toldAfter: 20 * time.Millisecond, followedAfter: time.Second, unservedFor: 300 * time.Millisecond,
		withdrawnAfter: 300 * time.Millisecond, movedAfter: 500 * time.Millisecond, prefixesAfter: 2 * time.Second} {
		if took, measured := figures[name]; !measured || took > most {
			t.Errorf("%s %v (measured: %v), want at most %v", name, took, measured, most)
		}
	}
	if *write {
		s.must(publish(nil, figures))
	}
}

// roleChange moves the VIP five times, by what tells keepalived that no router
// hears the node.
func roleChange(s *scene, figures map[string]time.Duration) {
	updates, err := s.Router.Updates(s.ctx)
	s.must(err)
	taken, err := s.LB2.AddressEvents(s.ctx, s.mode.address)
	s.must(err)
	deaf := func(value string) {
		s.must(os.WriteFile(filepath.Join(s.LB1.RunDir, "speaker.track"), []byte(value), 0o644))
	}
	var told, followed []time.Duration
	s.watch.Take()
	for range 5 {
		s.forgetUpdates(updates)
		deaf("1\n")
		change := s.next(taken)
		told = append(told, s.after(updates, s.LB2, change.At))
		s.await("route to lb2", func() error { return s.routed(s.LB2) })
		followed = append(followed, time.Since(change.At))
		deaf("0\n")
		s.await("route to lb1", func() error { return s.routed(s.LB1) })
		s.next(taken) // it has gone there
	}
	s.t.Logf("role change to UPDATE on the wire: %v; to the router's kernel: %v", told, followed)
	figures[toldAfter], figures[followedAfter], figures[unservedFor] = slices.Max(told), slices.Max(followed), s.watch.Take().Dark
}

// withdrawal kills the master's HAProxy.
func (s *scene) withdrawal(haproxy int, figures map[string]time.Duration) {
	updates, err := s.Router.Updates(s.ctx)
	s.must(err)
	taken, err := s.LB2.AddressEvents(s.ctx, s.mode.address)
	s.must(err)
	killed := time.Now()
	s.end(s.LB1, haproxy)
	figures[withdrawnAfter] = s.after(updates, s.LB1, killed)
	figures[movedAfter] = s.next(taken).At.Sub(killed)
}

// prefixes orders 10,000 of the master's sentinel, which has their addresses,
// and waits until the router's kernel has them all; then takes them back.
func prefixes(s *scene, figures map[string]time.Duration) {
	const many = 10000
	s.watch.Stop() // it reads all of the router's table a hundred times a second, which takes a CPU
	orders, err := os.ReadFile(filepath.Join(s.LB1.RunDir, "sentinel.want.json"))
	s.must(err)
	var want map[string]any
	s.must(json.Unmarshal(orders, &want))
	routing := want["routing"].(map[string]any)
	wanted := routing["prefixes"].([]any)
	batch := new(strings.Builder)
	for i := range many {
		address := fmt.Sprintf("198.19.%d.%d/32", i>>8, i&255)
		fmt.Fprintf(batch, "addr add %s dev lo scope host\n", address)
		one := maps.Clone(wanted[0].(map[string]any))
		one["prefix"] = address
		wanted = append(wanted, one)
	}
	file := filepath.Join(s.Dir, "addresses")
	s.must(os.WriteFile(file, []byte(batch.String()), 0o644))
	_, err = s.LB1.Run(s.ctx, "ip", "-batch", file)
	s.must(err)
	routing["prefixes"] = wanted
	more, err := json.Marshal(want)
	s.must(err)

	routes := func(n int) func() error { // the kernel's own table: ip takes long for so many
		return func() error {
			got, err := s.Router.Run(s.ctx, "sh", "-c", "grep -c 13C6 /proc/net/route || true") // 198.19, backwards
			if err == nil && got != fmt.Sprintln(n) {
				err = fmt.Errorf("the router has %s", got)
			}
			return err
		}
	}
	began := time.Now()
	s.order(s.LB1, more)
	s.await("10,000 routes", routes(many))
	figures[prefixesAfter] = time.Since(began)
	began = time.Now()
	s.order(s.LB1, orders)
	s.await("none of them", routes(0))
	s.t.Logf("10,000 prefixes announced after %v, withdrawn after %v", figures[prefixesAfter], time.Since(began))
}

// order tells a node's sentinel what is wanted, as its controller does.
func (s *scene) order(n *lab.Node, want []byte) {
	s.t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(n.RunDir, "sentinel.sock"))
	}}}
	req, err := http.NewRequestWithContext(s.ctx, http.MethodPut, "http://sentinel/v1/want", bytes.NewReader(want))
	s.must(err)
	resp, err := client.Do(req)
	s.must(err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(resp.Body)
		s.t.Fatalf("the sentinel of %s: %s: %s", n.Name, resp.Status, answer)
	}
}

// forgetUpdates throws away what came before.
func (s *scene) forgetUpdates(updates <-chan lab.Update) {
	for len(updates) > 0 {
		<-updates
	}
}

// next is the next change of an address.
func (s *scene) next(events <-chan lab.AddressEvent) lab.AddressEvent {
	s.t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(20 * time.Second):
		s.t.Fatal("the address does not move")
	}
	return lab.AddressEvent{}
}

// after is how long after a moment a node's next UPDATE came.
func (s *scene) after(updates <-chan lab.Update, from *lab.Node, moment time.Time) time.Duration {
	s.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case u := <-updates:
			if u.From.String() == from.Address {
				return u.At.Sub(moment)
			}
		case <-deadline:
			s.t.Fatal(fmt.Errorf("%s sends no UPDATE", from.Name))
		}
	}
}
