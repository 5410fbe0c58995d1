package controller

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/render"
)

// The versions of the files of the state directory. An older one is read, a
// newer one is not: the node then goes on from its source and its engines.
const (
	stateVersion     = 1
	endpointsVersion = 2
)

// memory keeps on disk what a restart must not lose: the last configuration
// that worked, and the last endpoints. Writing happens beside the loop and
// takes the newest state only.
type memory struct {
	dir       string
	log       *slog.Logger
	config    *config.Config // last kept
	endpoints chan kept
}

// kept is what is to be remembered of the endpoints. It is taken from values
// that nobody changes, and becomes a file only when it is written.
type kept struct {
	hosts map[string]discovery.Snapshot
	pools map[string]*Pool
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

// A line of endpoints.json: the first has Version, and each of the others a
// host, with all that it ran, or a service, with who has answered.
type remembered struct {
	Version    int                   `json:"version,omitempty"`
	Host       string                `json:"host,omitempty"`
	Containers []discovery.Container `json:"containers,omitempty"`
	Node       string                `json:"node,omitempty"`  // what the host is in its Swarm
	Swarm      *discovery.Swarm      `json:"swarm,omitempty"` // what it tells as a manager
	Service    string                `json:"service,omitempty"`
	Answered   map[string]time.Time  `json:"answered,omitempty"` // by server
}

func newMemory(dir string, log *slog.Logger) *memory {
	return &memory{dir: dir, log: log, endpoints: make(chan kept, 1)}
}

// Rest of run between two files: a second, and where there is much to write
// nine times as long as that took.
const (
	keepRest   = time.Second
	keepFactor = 9
)

// run writes endpoints until ctx ends; the last state is written before it
// returns.
func (m *memory) run(ctx context.Context) {
	var rest time.Duration
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
			began := time.Now()
			m.writeEndpoints(e)
			rest = max(keepRest, keepFactor*time.Since(began))
		}
		select {
		case <-ctx.Done():
		case <-time.After(rest):
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

// keepEndpoints hands the newest endpoints to run; neither map is changed any
// more. It never blocks.
func (m *memory) keepEndpoints(hosts map[string]discovery.Snapshot, pools map[string]*Pool) {
	if pools == nil {
		return // no round was made yet: nothing is newer than the file
	}
	select {
	case <-m.endpoints: // an older state that nobody has written
	default:
	}
	m.endpoints <- kept{hosts, pools}
}

func (m *memory) writeEndpoints(e kept) {
	if err := render.StreamFile(filepath.Join(m.dir, "endpoints.json"), 0o600, e.write); err != nil {
		m.log.Error("remember endpoints", "err", err)
	}
}

// write writes the lines one by one: as one text they would take the memory of
// all endpoints again.
func (e kept) write(w io.Writer) error {
	lines := json.NewEncoder(w)
	if err := lines.Encode(remembered{Version: endpointsVersion}); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(e.hosts)) {
		s := e.hosts[name]
		if err := lines.Encode(remembered{Host: name, Containers: s.Containers, Node: s.Node, Swarm: s.Swarm}); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.pools)) {
		if err := lines.Encode(remembered{Service: name, Answered: e.pools[name].answered()}); err != nil {
			return err
		}
	}
	return nil
}

// answered are the servers that have answered, and since which start.
func (p *Pool) answered() map[string]time.Time {
	started := make(map[string]time.Time)
	for _, m := range p.Members {
		if m.Answered && !m.Static {
			started[m.Server] = m.Started
		}
	}
	return started
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
	cfg, err := config.LoadOver(r.Files, nil)
	if err != nil {
		return nil, fmt.Errorf("load the last good configuration: %w", err)
	}
	cfg.Revision = r.Revision // of a Git source: the commit
	m.config = cfg
	return cfg, nil
}

// loadEndpoints puts the remembered endpoints into in, as stale.
func (m *memory) loadEndpoints(in *Input) error {
	f, err := os.Open(filepath.Join(m.dir, "endpoints.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	defer f.Close()
	lines := json.NewDecoder(bufio.NewReader(f))
	var first json.RawMessage
	if err := lines.Decode(&first); err != nil {
		return fmt.Errorf("read state endpoints.json: %w; it is ignored", err)
	}
	switch version, err := versionOf("endpoints.json", first, endpointsVersion); {
	case err != nil:
		return err
	case version == 1:
		return loadEndpoints1(first, in)
	}
	for {
		var r remembered
		switch err := lines.Decode(&r); {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("read state endpoints.json: %w; the rest of it is ignored", err)
		case r.Host != "":
			in.Hosts[r.Host] = discovery.Snapshot{Host: r.Host, Containers: r.Containers, Node: r.Node, Swarm: r.Swarm, StaleSince: time.Now()}
		case len(r.Answered) > 0:
			in.Answered[r.Service] = &Answers{Started: r.Answered}
		}
	}
}

// read decodes a file of the state directory; a missing one, and one of a
// newer version, leave value alone.
func (m *memory) read(name string, value any) error {
	data, err := os.ReadFile(filepath.Join(m.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	if _, err := versionOf(name, data, stateVersion); err != nil {
		return err
	}
	return json.Unmarshal(data, value)
}

// versionOf is the version that a file of the state directory says it has.
func versionOf(name string, data []byte, newest int) (int, error) {
	var head struct{ Version int }
	if err := json.Unmarshal(data, &head); err != nil {
		return 0, fmt.Errorf("read state %s: %w; it is ignored", name, err)
	}
	if head.Version < 1 || head.Version > newest {
		return 0, fmt.Errorf("read state %s: version %d, and this vipilot knows 1 to %d: a newer one wrote it; it is ignored, and written anew", name, head.Version, newest)
	}
	return head.Version, nil
}

// loadEndpoints1 reads version 1 of endpoints.json, which was one object.
func loadEndpoints1(data []byte, in *Input) error {
	var old struct {
		Hosts    map[string][]discovery.Container
		Nodes    map[string]string
		Swarms   map[string]*discovery.Swarm
		Answered map[string]map[string]time.Time
	}
	if err := json.Unmarshal(data, &old); err != nil {
		return fmt.Errorf("read state endpoints.json: %w; it is ignored", err)
	}
	for host, containers := range old.Hosts {
		in.Hosts[host] = discovery.Snapshot{Host: host, Containers: containers, Node: old.Nodes[host], Swarm: old.Swarms[host], StaleSince: time.Now()}
	}
	for service, started := range old.Answered {
		in.Answered[service] = &Answers{Started: started}
	}
	return nil
}
