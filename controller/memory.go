package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/render"
)

// stateVersion is written into every file of the state directory; a file of
// another version is not read.
const stateVersion = 1

// memory keeps on disk what a restart must not lose: the last configuration
// that worked, and the last endpoints. Writing happens beside the loop and
// takes the newest state only.
type memory struct {
	dir       string
	log       *slog.Logger
	config    *config.Config // last kept
	endpoints chan rememberedEndpoints
}

type rememberedConfig struct {
	Version  int         `json:"version"`
	Revision string      `json:"revision"`
	Files    config.Tree `json:"files"`
}

type rememberedBad struct {
	Version int `json:"version"`
	badRevision
}

type rememberedEndpoints struct {
	Version  int                              `json:"version"`
	Hosts    map[string][]discovery.Container `json:"hosts"`
	Nodes    map[string]string                `json:"nodes,omitempty"`  // by host, what it is in its Swarm
	Swarms   map[string]*discovery.Swarm      `json:"swarms,omitempty"` // by host, what it tells as a manager
	Answered map[string]map[string]time.Time  `json:"answered"`
}

func newMemory(dir string, log *slog.Logger) *memory {
	return &memory{dir: dir, log: log, endpoints: make(chan rememberedEndpoints, 1)}
}

// run writes endpoints until ctx ends, at most once a second; the last state
// is written before it returns.
func (m *memory) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			select {
			case e := <-m.endpoints:
				m.writeEndpoints(e)
			default:
			}
			return
		case e := <-m.endpoints:
			m.writeEndpoints(e)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// keepConfig writes the configuration that is in force, if it is another one.
func (m *memory) keepConfig(cfg *config.Config) {
	if cfg == m.config {
		return
	}
	if err := m.write("config.json", rememberedConfig{stateVersion, cfg.Revision, cfg.Files}); err != nil {
		m.log.Error("remember configuration", "err", err)
		return
	}
	m.config = cfg
}

// keepBad remembers a revision that was taken back; the zero value forgets it.
func (m *memory) keepBad(bad badRevision) {
	if err := m.write("bad.json", rememberedBad{stateVersion, bad}); err != nil {
		m.log.Error("remember the revision that was taken back", "err", err)
	}
}

// loadBad gives the revision that was taken back last.
func (m *memory) loadBad() (badRevision, error) {
	var r rememberedBad
	err := m.read("bad.json", &r)
	return r.badRevision, err
}

// keepEndpoints hands the newest endpoints to run. It never blocks.
func (m *memory) keepEndpoints(hosts map[string]discovery.Snapshot, answered map[string]*Answers) {
	e := rememberedEndpoints{
		Version: stateVersion, Hosts: make(map[string][]discovery.Container), Answered: make(map[string]map[string]time.Time),
		Nodes: make(map[string]string), Swarms: make(map[string]*discovery.Swarm),
	}
	for name, s := range hosts {
		e.Hosts[name] = s.Containers
		if s.Node != "" {
			e.Nodes[name] = s.Node
		}
		if s.Swarm != nil {
			e.Swarms[name] = s.Swarm
		}
	}
	for service, a := range answered {
		e.Answered[service] = a.Started
	}
	select {
	case <-m.endpoints: // an older state that nobody has written
	default:
	}
	m.endpoints <- e
}

func (m *memory) writeEndpoints(e rememberedEndpoints) {
	if err := m.write("endpoints.json", e); err != nil {
		m.log.Error("remember endpoints", "err", err)
	}
}

func (m *memory) write(name string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = render.WriteFile(filepath.Join(m.dir, name), data, 0o600)
	return err
}

// loadConfig gives the last configuration that worked, nil when there is none.
func (m *memory) loadConfig() (*config.Config, error) {
	var r rememberedConfig
	if err := m.read("config.json", &r); err != nil || r.Version == 0 {
		return nil, err
	}
	cfg, err := config.Load(r.Files)
	if err != nil {
		return nil, fmt.Errorf("load the last good configuration: %w", err)
	}
	m.config = cfg
	return cfg, nil
}

// loadEndpoints puts the remembered endpoints into in, as stale.
func (m *memory) loadEndpoints(in *Input) error {
	var r rememberedEndpoints
	if err := m.read("endpoints.json", &r); err != nil {
		return err
	}
	for host, containers := range r.Hosts {
		in.Hosts[host] = discovery.Snapshot{Host: host, Containers: containers, Node: r.Nodes[host], Swarm: r.Swarms[host], StaleSince: time.Now()}
	}
	for service, started := range r.Answered {
		in.Answered[service] = &Answers{Started: maps.Clone(started)}
	}
	return nil
}

// read decodes a file of the state directory; a missing one, and one of
// another version, leave value alone.
func (m *memory) read(name string, value any) error {
	data, err := os.ReadFile(filepath.Join(m.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	var head struct{ Version int }
	if err := json.Unmarshal(data, &head); err != nil {
		return fmt.Errorf("read state %s: %w; it is ignored", name, err)
	}
	if head.Version != stateVersion {
		return fmt.Errorf("read state %s: version %d, this vipilot writes %d; it is ignored", name, head.Version, stateVersion)
	}
	return json.Unmarshal(data, value)
}
