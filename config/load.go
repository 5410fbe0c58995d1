package config

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// budget bounds the work one configuration may cause, counted in YAML nodes
// after aliases are followed; 10,000 services are a fifth of it. A fault costs faultCost.
const (
	budget    = 2_000_000
	faultCost = 100
)

// sections are the top-level keys.
var sections = []string{"version", "nodes", "hosts", "networks", "vips", "services", "acme", "routing", "guard", "haproxy"}

// loader holds what Load knows so far.
type loader struct {
	files    Files
	read     Tree // every file read so far
	bytes    int  // of them
	cfg      Config
	faults   []*Fault
	warnings []*Fault
	declared map[string]map[string]value // kind of thing, name: where it stands
	broken   map[declaration]bool        // things with faults of their own, left out of comparisons
	refs     []reference
	partial  bool    // a file could not be read: what looks undeclared may be in there
	left     int     // of budget
	outline  outline // nil unless the decoder is run to find out what it takes
	dirs     []string
	inForce  map[string]bool // PEM of the certificates that are served, and stay so when their time is over
	lenient  bool            // nothing is in force
}

type declaration struct{ kind, name string }

// Load reads all configuration files, merges them and checks everything. When
// there are mistakes it gives no Config and all of them, as an error of type [Faults].
func Load(files Files) (*Config, error) { return load(files, new(Config)) }

// LoadOver is Load where inForce is served meanwhile. A certificate that is
// not valid at this time is a mistake, unless it is served already: then to
// refuse it would only keep the rest of a revision out as well. When nothing is
// in force (nil) there is nothing better to keep, and it is worth a warning only.
func LoadOver(files Files, inForce *Config) (*Config, error) { return load(files, inForce) }

func load(files Files, inForce *Config) (*Config, error) {
	names, err := files.List()
	if err != nil {
		return nil, fmt.Errorf("list configuration files: %w", err)
	}
	l := &loader{
		files: files, read: Tree{}, left: budget,
		declared: make(map[string]map[string]value), broken: make(map[declaration]bool),
		inForce: inForce.certificates(), lenient: inForce == nil,
	}
	if len(names) == 0 {
		l.faultAt(Pos{rootOf(files), 1, 1}, "", "no configuration: there is no *.yaml or *.yml file here")
		return nil, sortFaults(l.faults)
	}
	l.decode(l.parse(names), Pos{names[0], 1, 1})
	if !l.partial {
		l.resolveReferences()
		l.place()
		l.compare()
	}
	if len(l.faults) > 0 {
		return nil, sortFaults(l.faults)
	}
	return l.finish(), nil
}

// decode reads every section; start is where a missing one is reported.
func (l *loader) decode(top map[string][]value, start Pos) {
	if len(top["version"]) == 0 && !l.partial {
		l.faultAt(start, "version", "missing in every file").Hint = "write version: 1"
	}
	other := false
	for _, v := range top["version"] {
		if v.outlines(form{kind: kWhole, least: 1, most: 1}) {
			continue
		}
		if n, ok := asInt(0, 999)(v); ok && n != 1 {
			v.faultf("version %d is not supported", n).Hint = "this vipilot reads version 1; a newer version needs a newer vipilot, see docs/upgrade.md"
			other = true
		}
	}
	if other { // the rest may be in words of which this program cannot judge
		l.faults = slices.DeleteFunc(l.faults, func(f *Fault) bool { return f.Path != "" && f.Path != "version" })
		l.partial = true
		return
	}
	l.cfg.Nodes = named(top["nodes"], kindNode, readNode)
	l.cfg.Hosts = named(top["hosts"], kindHost, readHost)
	l.cfg.Networks = named(top["networks"], kindNetwork, readNetwork)
	l.cfg.VIPs = named(top["vips"], kindVIP, readVIP)
	l.cfg.Services = named(top["services"], kindService, readService)
	l.cfg.Issuers = named(top["acme"], kindIssuer, readIssuer)
	l.cfg.Routing = readRouting(top["routing"])
	l.cfg.Guard = readGuard(top["guard"])
	l.cfg.HAProxy = readHAProxy(top["haproxy"])
}

// parse reads the files and gives the top-level sections, each in as many
// parts as there are files with it.
func (l *loader) parse(names []string) map[string][]value {
	top := make(map[string][]value)
	for _, name := range names {
		data, err := l.readFile(name)
		if err != nil {
			l.faultAt(Pos{name, 1, 1}, "", "cannot read the file: %w", err)
			l.partial = true
			continue
		}
		for _, document := range l.parseFile(name, data) {
			for _, e := range entries([]value{document}) {
				if !slices.Contains(sections, e.key.Value) {
					e.unknownKey(sections)
					continue
				}
				top[e.key.Value] = append(top[e.key.Value], e)
			}
		}
	}
	return top
}

// parseFile gives the YAML documents of a file.
func (l *loader) parseFile(name string, data []byte) (documents []value) {
	defer func() {
		if bug := recover(); bug != nil { // the YAML parser is not ours and has panicked on odd input before
			l.faultAt(Pos{name, 1, 1}, "", "the YAML parser gave up on this file: %v", bug)
			l.partial = true
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return documents
		}
		if err != nil {
			l.syntaxFault(name, err)
			return documents
		}
		if len(document.Content) == 1 {
			documents = append(documents, value{l: l, file: name, node: resolve(document.Content[0])})
		}
	}
}

var yamlLine = regexp.MustCompile(`^line (\d+): `)

// syntaxFault takes the line out of a message of the YAML parser.
func (l *loader) syntaxFault(name string, err error) {
	text, line := strings.TrimPrefix(err.Error(), "yaml: "), 1
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		text = text[len(m[0]):]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = max(n, 1)
		}
	}
	l.faultAt(Pos{name, line, 1}, "", "not YAML: %s", text)
	l.partial = true
}

// finish puts named things in order and seals the Config.
func (l *loader) finish() *Config {
	c := new(Config) // not in the loader, which holds every YAML node
	*c = l.cfg
	c.markTiered()
	slices.SortFunc(c.Hosts, func(a, b Host) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(c.Networks, func(a, b Network) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(c.VIPs, func(a, b VIP) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(c.Services, func(a, b Service) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(c.Issuers, func(a, b Issuer) int { return cmp.Compare(a.Name, b.Name) })
	if c.Routing.BGP != nil {
		slices.SortFunc(c.Routing.BGP.Peers, func(a, b Peer) int { return cmp.Compare(a.Name, b.Name) })
	}
	c.Files, c.Dirs, c.Revision, c.Warnings = l.read, l.dirs, revision(l.read), sortFaults(l.warnings)
	return c
}

// revision names a set of files by its content.
func revision(files Tree) string {
	hash := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(hash, "%d %s %d\n", len(name), name, len(files[name]))
		hash.Write(files[name])
	}
	return hex.EncodeToString(hash.Sum(nil))[:12]
}

// spend takes n from the budget. False means there is none left; that was reported.
func (l *loader) spend(n int) bool {
	if l.left <= 0 {
		return false
	}
	if l.left -= n; l.left <= 0 {
		l.faults = append(l.faults, &Fault{
			Pos:     Pos{rootOf(l.files), 1, 1},
			Problem: "the configuration is too large or has too many faults; the rest of it was not read",
			Hint:    "look for YAML aliases that multiply each other",
		})
	}
	return l.left > 0
}

// faultAt reports a mistake. The caller may add a hint to what is returned.
func (l *loader) faultAt(at Pos, path, format string, args ...any) *Fault {
	f := &Fault{Pos: at, Path: path, Problem: fmt.Errorf(format, args...).Error()}
	if l.spend(faultCost) {
		l.faults = append(l.faults, f)
	}
	return f
}

func (l *loader) warnAt(at Pos, path, format string, args ...any) *Fault {
	f := &Fault{Pos: at, Path: path, Problem: fmt.Errorf(format, args...).Error()}
	l.warnings = append(l.warnings, f)
	return f
}

// rootOf names the place as a whole, for a fault that belongs to no file.
func rootOf(files Files) string {
	if dir, ok := files.(Dir); ok {
		return string(dir)
	}
	return "."
}
