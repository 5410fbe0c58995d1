package docker

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/vipilot/vipilot/discovery"
)

// view is the containers of one engine. No two that are up hold one address:
// Docker gives an address to the next container at once, so if the end of the
// former was missed, the one that started later has it.
type view struct {
	byID   map[string]record
	holder map[string]string // address -> id of the container that holds it

	sorted []discovery.Container // by name, then id
	lent   bool                  // sorted is in a snapshot and must not change
}

func newView() *view { return &view{byID: map[string]record{}, holder: map[string]string{}} }

// snapshot gives the containers, sorted; the slice never changes afterwards.
func (v *view) snapshot() []discovery.Container {
	v.lent = true
	return slices.Clip(v.sorted)
}

// put adds or replaces a container and reports whether anything changed.
func (v *view) put(r record) bool {
	held := addresses(r.Container)
	for _, a := range held {
		if other, ok := v.byID[v.holder[a]]; ok && other.ID != r.ID && startedLater(other, r) {
			return v.replace(r.stopped())
		}
	}
	for _, a := range held {
		if other, ok := v.byID[v.holder[a]]; ok && other.ID != r.ID {
			v.replace(other.stopped())
		}
	}
	return v.replace(r)
}

func startedLater(a, b record) bool {
	return cmp.Or(a.StartedAt.Compare(b.StartedAt), strings.Compare(a.ID, b.ID)) > 0
}

// replace is put without regard to who holds an address.
func (v *view) replace(r record) bool {
	old, known := v.byID[r.ID]
	if known && reflect.DeepEqual(old, r) {
		return false
	}
	v.remove(r.ID)
	v.byID[r.ID] = r
	for _, a := range addresses(r.Container) {
		v.holder[a] = r.ID
	}
	i, _ := slices.BinarySearchFunc(v.sorted, r.Container, byName)
	v.own()
	v.sorted = slices.Insert(v.sorted, i, r.Container)
	return true
}

// remove forgets a container and reports whether it was known.
func (v *view) remove(id string) bool {
	old, known := v.byID[id]
	if !known {
		return false
	}
	delete(v.byID, id)
	for _, a := range addresses(old.Container) {
		if v.holder[a] == id {
			delete(v.holder, a)
		}
	}
	if i, ok := slices.BinarySearchFunc(v.sorted, old.Container, byName); ok {
		v.own()
		v.sorted = slices.Delete(v.sorted, i, i+1)
	}
	return true
}

// own makes sorted free to change.
func (v *view) own() {
	if v.lent {
		v.sorted, v.lent = slices.Clone(v.sorted), false
	}
}

func byName(a, b discovery.Container) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
}

// addresses names everything on the network that only one container of a host
// can hold: its address on each network, and its published ports.
func addresses(c discovery.Container) []string {
	if c.State == discovery.Stopped {
		return nil
	}
	var held []string
	for _, n := range c.Networks {
		if n.IPv4.IsValid() {
			held = append(held, n.Name+" "+n.IPv4.String())
		}
		if n.IPv6.IsValid() {
			held = append(held, n.Name+" "+n.IPv6.String())
		}
	}
	for _, p := range c.Published {
		held = append(held, fmt.Sprintf("%v:%d", p.HostIP, p.HostPort))
	}
	if c.UDP != nil {
		for _, p := range c.UDP.Published {
			held = append(held, fmt.Sprintf("%v:%d/udp", p.HostIP, p.HostPort))
		}
	}
	return held
}
