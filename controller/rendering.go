package controller

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/render"
	"github.com/vipilot/vipilot/routing/frr"
	"github.com/vipilot/vipilot/routing/remote"
	"github.com/vipilot/vipilot/vrrp"
)

// Given are endpoints named by hand, by service: they stand for containers
// that would have been found.
type Given map[string][]GivenEndpoint

// GivenEndpoint is one of them; Name defaults to the address.
type GivenEndpoint struct {
	Name    string
	Address netip.AddrPort
	Via     netip.AddrPort // the host's proxy that reaches it; invalid otherwise
}

// Render gives the files that node would run, by name relative to the output
// directory: haproxy.cfg with maps/ and certs/, keepalived.conf where a VIP
// uses VRRP, frr.conf where FRR speaks, and routes.json. Sockets are named below runDir. Without given
// endpoints every VIP counts as served.
func Render(cfg *config.Config, node string, given Given, runDir string) (map[string][]byte, error) {
	n, _ := cfg.Node(node)
	want, err := Desire(Input{Node: node, Config: cfg, RunDir: runDir, Obtained: temporaries(cfg), Stage: lastStage(n)})
	if err != nil {
		return nil, err
	}
	if err := want.give(cfg, node, given); err != nil {
		return nil, err
	}
	if given == nil {
		cfg = assumeServing(cfg)
	}
	want.Silent = make(map[string]string)
	want.Routing = wantRouting(Input{Node: node, Config: cfg, Health: want.allUp(), Stage: lastStage(n)}, n, &want)
	return want.files(runDir)
}

// files are what the daemons would read.
func (d *Desired) files(runDir string) (map[string][]byte, error) {
	files, err := haproxy.Render(d.HAProxy, haproxy.Paths{Dir: filepath.Join(runDir, "haproxy")})
	if err != nil {
		return nil, err
	}
	out := map[string][]byte(files)
	if election := d.VRRP; len(election.Instances)+len(election.Virtual) > 0 {
		election = watched(election, runDir)
		if out["keepalived.conf"], err = vrrp.Render(election, filepath.Join(runDir, "keepalived")); err != nil {
			return nil, err
		}
	}
	if d.Routing.NeedsFRR() {
		if out["frr.conf"], err = frr.Render(d.Routing); err != nil {
			return nil, err
		}
	}
	out["routes.json"], err = renderRoutes(*d)
	return out, err
}

// assumeServing is cfg with every announcement bound to the proxy alone.
func assumeServing(cfg *config.Config) *config.Config {
	assumed := *cfg
	assumed.VIPs = slices.Clone(cfg.VIPs)
	for i, vip := range assumed.VIPs {
		if vip.Announce != nil {
			announce := *vip.Announce
			announce.When = config.WhenProxy
			assumed.VIPs[i].Announce = &announce
		}
	}
	return &assumed
}

// give puts the endpoints into the pools, as ready servers.
func (d *Desired) give(cfg *config.Config, node string, given Given) error {
	self, _ := cfg.Node(node)
	for name, endpoints := range given {
		service, ok := cfg.Service(name)
		if !ok {
			return fmt.Errorf("endpoints: service %q is not declared", name)
		}
		pool := d.Pools[name]
		if pool == nil {
			continue // its VIP is not on this node
		}
		members := slices.Clone(pool.Members)
		if service.UDP != nil {
			d.giveUDP(cfg, service, endpoints)
			continue
		}
		for _, e := range endpoints {
			endpoint := discovery.Endpoint{Name: cmp.Or(e.Name, staticName(e.Address.String())), Address: e.Address, Via: e.Via, Weight: 100}
			if host, _, ok := strings.Cut(e.Name, "/"); ok {
				endpoint.Host = host
			}
			if !slices.ContainsFunc(members, func(m Member) bool { return m.Static && m.Name == endpoint.Name }) {
				member := Member{Endpoint: endpoint, Server: serverName(service, endpoint), Answered: true}
				switch {
				case pool.Backend.Place == haproxy.BehindIt:
					member.Server = token(endpoint)
				case e.Via.IsValid():
					member.Source = self.Address
				}
				members = append(members, member)
			}
		}
		slices.SortFunc(members, byName)
		fresh := &Pool{Members: members, Rejected: pool.Rejected}
		if pool.Backend.Place == haproxy.BehindIt {
			fresh.Backend = wantBehind(service, members)
		} else {
			fresh.Backend = wantBackend(service, members)
		}
		i := slices.Index(d.HAProxy.Backends, pool.Backend)
		d.HAProxy.Backends[i], d.Pools[name] = fresh.Backend, fresh
	}
	return nil
}

// allUp is the health of a node on which every server passes its check.
func (d *Desired) allUp() haproxy.Verdicts {
	health := make(map[haproxy.ServerKey]haproxy.Health)
	for service, pool := range d.Pools {
		for _, m := range pool.Members {
			health[haproxy.ServerKey{Backend: m.backend(service), Server: m.Server}] = haproxy.Up
		}
	}
	return haproxy.NewVerdicts(health)
}

// renderRoutes tells the routing state without its passwords.
func renderRoutes(want Desired) ([]byte, error) {
	routes := want.Routing
	routes.Peers = slices.Clone(routes.Peers)
	for i := range routes.Peers {
		if routes.Peers[i].Password != "" {
			routes.Peers[i].Password = "***"
		}
	}
	if routes.OSPF != nil && routes.OSPF.Password != "" {
		veiled := *routes.OSPF
		veiled.Password = "***"
		routes.OSPF = &veiled
	}
	out, err := json.MarshalIndent(struct {
		BGP     any               `json:"bgp"`
		Anycast []netip.Addr      `json:"anycast"`
		Silent  map[string]string `json:"silent"` // VIPs not announced, and why
	}{routes, want.Anycast, want.Silent}, "", "  ")
	return append(out, '\n'), err
}

// Remark is what a daemon said of the rendered configuration of one node.
type Remark struct {
	Node, Daemon string
	Host         string // not "": the host whose proxy is meant; Node is "" then
	Err          error  // the daemon refuses
	Skipped      string // why it was not asked
}

// AskDaemons gives what each node would run to the parsers of HAProxy,
// keepalived and FRR, where they are installed. An interface that this machine does
// not have is replaced by one that it has: keepalived insists on that. It asks
// for the nodes given, or for all.
func AskDaemons(ctx context.Context, cfg *config.Config, nodes ...string) ([]Remark, error) {
	asked := make([][]Remark, len(cfg.Nodes))
	group, each := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, node := range cfg.Nodes {
		if len(nodes) > 0 && !slices.Contains(nodes, node.Name) {
			continue
		}
		group.Go(func() (err error) {
			asked[i], err = askFor(each, cfg, node.Name)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	remarks := slices.Concat(asked...)
	for _, host := range cfg.Hosts {
		if host.Proxy == nil {
			continue
		}
		remark, err := askForTier(ctx, cfg, host.Name)
		if err != nil {
			return nil, fmt.Errorf("host %s: %w", host.Name, err)
		}
		remarks = append(remarks, remark)
	}
	return remarks, nil
}

// askFor asks for one node, in a directory that it removes.
func askFor(ctx context.Context, cfg *config.Config, node string) (remarks []Remark, err error) {
	dir, err := os.MkdirTemp("", "vipilot-validate-")
	if err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if remarks, err = askIn(ctx, cfg, node, dir); err != nil {
		return nil, fmt.Errorf("node %s: %w", node, err)
	}
	return remarks, nil
}

func askIn(ctx context.Context, cfg *config.Config, node, dir string) ([]Remark, error) {
	want, err := Desire(Input{Node: node, Config: cfg})
	if err != nil {
		return nil, err
	}
	files, err := Render(cfg, node, nil, dir)
	if err != nil {
		return nil, err
	}
	remarks := []Remark{{Node: node, Daemon: "haproxy"}}
	if len(want.VRRP.Instances)+len(want.VRRP.Virtual) > 0 {
		keepalived := Remark{Node: node, Daemon: "keepalived"}
		if stand, ok := standIn(want.VRRP); ok {
			stand = watched(stand, dir)
			// All that it watches is in dir itself: keepalived 2.3 crashes where the directory of such a file is missing.
			if files["keepalived.conf"], err = vrrp.Render(stand, dir); err != nil {
				return nil, err
			}
		} else {
			keepalived.Skipped = "this machine has no network interface it could be asked with"
		}
		remarks = append(remarks, keepalived)
	}
	if files["frr.conf"] != nil {
		remarks = append(remarks, Remark{Node: node, Daemon: "vtysh"})
	}
	if err := WriteFiles(dir, files); err != nil {
		return nil, err
	}
	for i := range remarks {
		remarks[i].ask(ctx, dir)
	}
	return remarks, nil
}

// ask fills in what the daemon says of the files in dir.
func (r *Remark) ask(ctx context.Context, dir string) {
	switch _, err := exec.LookPath(r.Daemon); {
	case r.Skipped != "":
	case err != nil:
		r.Skipped = r.Daemon + " is not installed"
	case r.Daemon == "haproxy":
		r.Err = haproxy.CheckFiles(ctx, r.Daemon, dir)
	case r.Daemon == "vtysh":
		r.Err = frr.Check(ctx, r.Daemon, filepath.Join(dir, "frr.conf"))
	default:
		r.Err = vrrp.Check(ctx, r.Daemon, filepath.Join(dir, "keepalived.conf"))
	}
}

// standIn is want on interfaces that exist here.
func standIn(want vrrp.Config) (vrrp.Config, bool) {
	if len(want.Instances) == 0 {
		return want, true
	}
	links, err := net.Interfaces()
	if err != nil {
		return want, false
	}
	return standOn(links, want)
}

// standOn is want on some of these interfaces: the one of the same name, or
// the first that an instance could be on.
func standOn(links []net.Interface, want vrrp.Config) (vrrp.Config, bool) {
	links = slices.DeleteFunc(slices.Clone(links), func(l net.Interface) bool {
		return l.Flags&net.FlagLoopback != 0 || l.Flags&net.FlagMulticast == 0
	})
	if len(links) == 0 {
		return want, false
	}
	want.Instances = slices.Clone(want.Instances)
	for i, one := range want.Instances {
		if !slices.ContainsFunc(links, func(l net.Interface) bool { return l.Name == one.Interface }) {
			want.Instances[i].Interface = links[0].Name
		}
	}
	return want, true
}

// WriteFiles puts rendered files below dir. Certificates and passwords may be
// among them, so only the owner can read them.
func WriteFiles(dir string, files map[string][]byte) error {
	for name, data := range files {
		if _, err := render.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func trackFile(runDir string) string { return filepath.Join(runDir, "haproxy.track") }

func speakerTrackFile(runDir string) string { return filepath.Join(runDir, "speaker.track") }

// watched has keepalived follow what the sentinel of runDir says, and whether it
// lives.
func watched(want vrrp.Config, runDir string) vrrp.Config {
	want.TrackFile, want.SpeakerFile, want.LifeFile = trackFile(runDir), speakerTrackFile(runDir), filepath.Join(runDir, remote.LockFile)
	return want
}
