package haproxy

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	parser "github.com/haproxytech/client-native/v6/config-parser"
	parseerrors "github.com/haproxytech/client-native/v6/config-parser/errors"
	"github.com/haproxytech/client-native/v6/config-parser/params"
	"github.com/haproxytech/client-native/v6/config-parser/types"

	"github.com/vipilot/vipilot/internal/command"
)

// ConfigFile is the name of the main file within [Files].
const ConfigFile = "haproxy.cfg"

// Files maps a name relative to the run directory to its content: haproxy.cfg,
// maps/*.map, pages/*.html, certs/*.pem, certs/*.ocsp, certs/*.ca and certs/*.list. The names within the files are
// relative too, so a copy of them can be checked anywhere.
type Files map[string][]byte

// Paths says where rendered files will be used.
type Paths struct {
	Dir      string        // absolute: sockets and the state file are named by it
	FDLimit  int           // open files HAProxy may have; 0 = unknown, HAProxy derives maxconn itself
	HardStop time.Duration // how long an old worker may finish its sessions; 0 = as long as one may be silent, 1h at least
	Jail     Jail
}

func (p Paths) stats() string  { return filepath.Join(p.Dir, "stats.sock") }
func (p Paths) master() string { return filepath.Join(p.Dir, "master.sock") }
func (p Paths) state() string  { return filepath.Join(p.Dir, "server-state") }

// log is where HAProxy's lines are read.
func (p Paths) log() string {
	if p.Jail.closed() {
		return p.socket(logSocket)
	}
	return filepath.Join(p.Dir, logSocket)
}

// Render turns the wanted state into files. It is pure: equal input gives
// equal bytes. Everything a file could misread is refused.
func Render(want Config, paths Paths) (Files, error) {
	if err := checkSplits(want); err != nil {
		return nil, fmt.Errorf("render haproxy.cfg: %w", err)
	}
	if err := checkPassthrough(want); err != nil {
		return nil, fmt.Errorf("render haproxy.cfg: %w", err)
	}
	want = new(splitter).apply(new(passer).apply(want))
	if err := checkConfig(want, func(*Backend) bool { return false }); err != nil {
		return nil, fmt.Errorf("render haproxy.cfg: %w", err)
	}
	maxconn, err := budget(want, paths.FDLimit)
	if err != nil {
		return nil, fmt.Errorf("render haproxy.cfg: %w", err)
	}
	files := Files{}
	var text strings.Builder
	writeGlobal(&text, paths, maxconn, want)
	if slices.ContainsFunc(want.Backends, (*Backend).resolves) {
		writeResolvers(&text)
	}
	if want.sharesTables() {
		writePeers(&text, want.Peers)
	}
	writeExporter(&text, paths)
	for _, f := range want.Frontends {
		writeFrontend(&text, f, paths, want)
		f.addFiles(files)
	}
	if want.Tier != nil {
		writeTier(&text, want.Tier, paths)
		files[tierCertificate] = want.Tier.Certificate
	}
	for _, b := range want.Backends {
		writeBackend(&text, b, want.sharesTables())
		b.addTLSFiles(files)
		for _, p := range b.Rules.Pages {
			files[p.file()] = p.Content
		}
	}
	cfg, err := parse(text.String())
	if err != nil {
		return nil, fmt.Errorf("render haproxy.cfg: %w", err)
	}
	if err := setServers(cfg, want, paths); err != nil {
		return nil, err
	}
	if err := understood(cfg); err != nil {
		return nil, err
	}
	files[ConfigFile] = []byte(cfg.String())
	return files, nil
}

// CheckFiles asks HAProxy's own parser about the rendered files in dir. The error
// carries its words.
func CheckFiles(ctx context.Context, binary, dir string) error {
	if _, err := exec.LookPath(binary); err != nil {
		return missing(binary, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := errors.Join(withoutQUIC(ctx, binary, dir), withoutOCSP(ctx, binary, dir)); err != nil {
		return fmt.Errorf("check haproxy.cfg: %w", err)
	}
	_, err := command.Run(ctx, binary, "-C", dir, "-c", "-f", filepath.Join(dir, ConfigFile)) // crt of a server is relative to where HAProxy runs
	var failed *command.Error
	if errors.As(err, &failed) && failed.Output != "" {
		return fmt.Errorf("check haproxy.cfg: %s: %w", complaints(failed.Output), failed.Err)
	}
	if err != nil {
		return fmt.Errorf("check haproxy.cfg: %w", err)
	}
	return nil
}

func missing(binary string, err error) error {
	return fmt.Errorf("%s is not installed: apt-get install haproxy: %w", binary, err)
}

// understood fails when the parser met a line it has no type for: such a line
// was never meant.
func understood(cfg parser.Parser) error {
	for _, section := range []parser.Section{parser.Global, parser.Defaults, parser.UserList, parser.Frontends, parser.Backends} {
		names, err := cfg.SectionsGet(section)
		if section == parser.Global {
			names, err = []string{parser.GlobalSectionName}, nil
		}
		if err != nil {
			continue // no such section
		}
		for _, name := range names {
			unknown, err := cfg.Get(section, name, "")
			if errors.Is(err, parseerrors.ErrFetch) {
				continue
			}
			if err != nil {
				return fmt.Errorf("render haproxy.cfg: %s %s: %w", section, name, err)
			}
			return fmt.Errorf("render haproxy.cfg: %s %s: lines that are not HAProxy's: %v", section, name, unknown)
		}
	}
	return nil
}

func setServers(cfg parser.Parser, want Config, paths Paths) error {
	for _, b := range want.Backends {
		if len(b.Servers) == 0 {
			continue
		}
		servers := make([]types.Server, 0, len(b.Servers))
		for _, s := range b.Servers {
			options := serverOptions(b, s)
			if s.State == Maint {
				options = append(options, word("disabled"))
			}
			if s.Host != "" {
				options = append(options, value("init-addr", "last,libc,none"), value("resolvers", "vipilot"))
			}
			servers = append(servers, types.Server{Name: s.Name, Address: paths.address(b, s), Params: options})
		}
		if err := cfg.Set(parser.Backends, b.Name, "server", servers); err != nil {
			return fmt.Errorf("render haproxy.cfg: backend %s: %w", b.Name, err)
		}
	}
	return nil
}

// resolves reports whether a server of the backend is named by host.
func (b *Backend) resolves() bool {
	return slices.ContainsFunc(b.Servers, func(s Server) bool { return s.Host != "" })
}

// isFixed reports whether the server cannot be added at run time.
func (s Server) isFixed() bool { return s.Host != "" || s.Socket != "" }

// targetOf writes an address as HAProxy reads it. Without a port the server is
// reached at the one that the client's connection came to.
func targetOf(a netip.AddrPort) string {
	switch {
	case a.Port() != 0:
	case a.Addr().Is6():
		return "[" + a.Addr().String() + "]" // or its end is a port
	default:
		return a.Addr().String()
	}
	return a.String()
}

// target is the server's address as HAProxy reads it.
func (s Server) target() string {
	if s.Socket != "" {
		return "unix@" + s.Socket
	}
	if s.Host != "" {
		return fmt.Sprintf("%s:%d", s.Host, s.Port)
	}
	return targetOf(s.Address)
}

func word(name string) params.ServerOption { return &params.ServerOptionWord{Name: name} }
func value(name, v string) params.ServerOption {
	return &params.ServerOptionValue{Name: name, Value: v}
}

// serverOptions are the keywords of a server, the same in the file and in
// "add server", which inherits nothing from default-server.
func serverOptions(b *Backend, s Server) []params.ServerOption {
	var list []params.ServerOption
	switch b.Place {
	case AtGate:
		return gateOptions(s)
	case BeforeTLS:
		return []params.ServerOption{word("send-proxy-v2")}
	case OnNode:
		list = checkOptions(b)
	}
	list = append(list, value("weight", fmt.Sprint(s.Weight)))
	if b.MaxConn > 0 {
		list = append(list, value("maxconn", fmt.Sprint(b.MaxConn)))
	}
	if s.Backup {
		list = append(list, word("backup"))
	}
	if b.SlowStart > 0 {
		list = append(list, value("slowstart", millis(b.SlowStart)))
	}
	list = append(list, b.Outlier.options()...)
	if s.Via != "" {
		return append(list, viaOptions(s)...)
	}
	list = append(list, b.ProxyProtocol.options()...)
	if b.H2 && b.TLS != nil {
		list = append(list, value("alpn", "h2"))
	} else if b.H2 {
		list = append(list, value("proto", "h2"))
	}
	return append(list, b.TLS.serverOptions(b.Mode)...)
}

func checkOptions(b *Backend) []params.ServerOption {
	inter := cmp.Or(b.Check.Interval, 2*time.Second)
	list := []params.ServerOption{word("check")}
	if b.Check.Port != 0 {
		list = append(list, value("port", fmt.Sprint(b.Check.Port)))
	}
	return append(list,
		value("inter", millis(inter)),
		value("fastinter", millis(min(inter, max(inter/4, 200*time.Millisecond)))), // settle a change of mind quickly
		value("rise", fmt.Sprint(cmp.Or(b.Check.Rise, 2))),
		value("fall", fmt.Sprint(cmp.Or(b.Check.Fall, 3))),
	)
}

func millis(d time.Duration) string { return fmt.Sprintf("%dms", max(1, d.Milliseconds())) }

// structure is what of a haproxy.cfg only a reload can change: all but the
// servers, and the maxconn that merely follows from their number.
func structure(cfg []byte) string {
	peers := false // whose nodes are lines like those of servers
	lines := slices.DeleteFunc(strings.Split(string(cfg), "\n"), func(line string) bool {
		if line != "" && line[0] != ' ' {
			peers = strings.HasPrefix(line, "peers ")
		}
		return !peers && strings.HasPrefix(line, "  server ") || strings.HasPrefix(line, "  maxconn ")
	})
	for i, line := range lines {
		if strings.HasPrefix(line, "  user ") { // what differs may be told, a password's hash not
			lines[i] = fmt.Sprintf("  user %x", sha256.Sum256([]byte(line)))
		}
	}
	return strings.Join(lines, "\n")
}

// names lists the files in a fixed order, the main file last: what it refers
// to must be there before it.
func (f Files) names() []string {
	names := slices.Sorted(maps.Keys(f))
	if i := slices.Index(names, ConfigFile); i >= 0 {
		names = append(slices.Delete(names, i, i+1), ConfigFile)
	}
	return names
}
