package vrrp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/vipilot/vipilot/internal/supervise"
	"github.com/vipilot/vipilot/render"
)

// memory is what must survive the controller, kept in roles.json, and the
// queue of role changes that nobody has read yet. Its methods may be called
// from several goroutines.
type memory struct {
	path string
	wake chan struct{} // one token: the queue may not be empty

	mu    sync.Mutex
	kept  kept
	queue []RoleChange // at most one an instance
}

type kept struct {
	PID       int             `json:"pid"` // of the process all this is about
	StartTime uint64          `json:"start_time"`
	Loaded    string          `json:"loaded"` // hash of the file it has confirmed
	Roles     map[string]Role `json:"roles"`
	Held      []held          `json:"held"` // what may be left on interfaces if it dies
}

func newMemory(path string) *memory {
	return &memory{path: path, wake: make(chan struct{}, 1), kept: kept{Roles: map[string]Role{}}}
}

// recall loads what a dead controller wrote. Roles and the loaded file count
// only for the process they were written about; p is nil when none lives.
func (m *memory) recall(p *supervise.Process) error {
	data, err := os.ReadFile(m.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("recall roles: %w", err)
	}
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		return fmt.Errorf("recall roles: %s: %w", m.path, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if p == nil || k.PID != p.PID || k.StartTime != p.StartTime {
		k = kept{Held: k.Held}
	}
	m.kept = k
	m.kept.Roles = map[string]Role{}
	for name, role := range k.Roles {
		m.take(name, role, time.Now())
	}
	return nil
}

// edit changes what is kept and writes it.
func (m *memory) edit(change func(*kept)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.kept)
	return m.save()
}

// read gives a copy of what is kept.
func (m *memory) read() kept {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.kept
	k.Roles, k.Held = maps.Clone(k.Roles), slices.Clone(k.Held)
	return k
}

// assume takes the given roles, and queues those that are new.
func (m *memory) assume(notices []notice) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, changed := time.Now(), false
	for _, n := range notices {
		changed = m.take(n.Instance, n.Role, now) || changed
	}
	if !changed {
		return nil
	}
	return m.save()
}

// gone makes every instance [Fault]: there is no keepalived to take part.
func (m *memory) gone() error {
	var notices []notice
	for _, name := range slices.Sorted(maps.Keys(m.read().Roles)) {
		notices = append(notices, notice{name, Fault})
	}
	return m.assume(notices)
}

// take sets one role and queues the change; m.mu is held.
func (m *memory) take(name string, role Role, at time.Time) (changed bool) {
	if m.kept.Roles[name] == role {
		return false
	}
	m.kept.Roles[name] = role
	m.queue = slices.DeleteFunc(m.queue, func(c RoleChange) bool { return c.Instance == name })
	m.queue = append(m.queue, RoleChange{Instance: name, Role: role, At: at})
	signal(m.wake)
	return true
}

// save writes roles.json; m.mu is held.
func (m *memory) save() error {
	data, err := json.Marshal(m.kept)
	if err == nil {
		_, err = render.WriteFile(m.path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("remember roles: %w", err)
	}
	return nil
}

// deliver passes the queue on until ctx ends. While the reader is slow, an
// instance waits with its newest role only.
func (m *memory) deliver(ctx context.Context, out chan<- RoleChange) {
	for {
		c, ok := m.next()
		if !ok {
			select {
			case <-m.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		select {
		case out <- c:
		case <-ctx.Done():
			return
		}
	}
}

func (m *memory) next() (RoleChange, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) == 0 {
		return RoleChange{}, false
	}
	c := m.queue[0]
	m.queue = m.queue[1:]
	return c, true
}
