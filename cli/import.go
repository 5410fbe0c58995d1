package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/importer"
)

// importing are the flags that every import has.
type importing struct {
	p          Program
	nodes      []string // NAME=ADDRESS
	vips       []string
	out        string
	force      bool
	docker     string
	inspect    []string
	entry      []string
	ca, crt, k string // of docker
}

func (p Program) importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import (traefik|nginx-proxy|haproxy) -o DIR",
		Short: "Make a repository of what runs already: Traefik, nginx-proxy, or HAProxy and keepalived",
		Long: `Make a repository of what runs already. Comments in it say where each thing comes from; what
was not carried over is listed with its place and the reason, on standard error. A service that
would have lost its protection is written closed, for a person to open. Nothing is written
that vipilot would not load, and nothing is written over without --force.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return usageError{errors.New("say what to import: traefik, nginx-proxy or haproxy; see vipilot import --help")}
		},
	}
	cmd.AddCommand(p.importContainers("traefik", "Traefik's labels of containers", importer.Traefik),
		p.importContainers("nginx-proxy", "nginx-proxy's variables of containers", importer.NginxProxy), p.importHAProxy())
	return cmd
}

func (i *importing) flags(flags *pflag.FlagSet) {
	flags.StringArrayVar(&i.nodes, "node", nil, "NAME=ADDRESS of a load-balancer node, once for each (default: this machine)")
	flags.StringArrayVar(&i.vips, "vip", nil, "address that clients come to, where the source does not say it (default: the first node's)")
	flags.StringVarP(&i.out, "output", "o", "", "directory to write into (required)")
	flags.BoolVar(&i.force, "force", false, "write over files that are there")
}

func (p Program) importContainers(name, what string, read func([]importer.Container, importer.Options) (*importer.Repository, error)) *cobra.Command {
	i := importing{p: p}
	cmd := &cobra.Command{
		Use:   name + " (--docker URL | --inspect FILE) -o DIR",
		Short: "Import " + what,
		Example: "  docker inspect $(docker ps -q) >now.json && vipilot import " + name + " --inspect now.json --node home=192.0.2.5 -o fleet\n" +
			"  vipilot import " + name + " --docker unix:///var/run/docker.sock -o fleet",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			containers, err := i.containers(cmd.Context())
			if err != nil {
				return err
			}
			return i.do(func(o importer.Options) (*importer.Repository, error) { return read(containers, o) })
		},
	}
	flags := cmd.Flags()
	i.flags(flags)
	flags.StringVar(&i.docker, "docker", "", "engine that is asked: unix:///path or tcp://host:port; it is also written to hosts:")
	flags.StringVar(&i.ca, "docker-ca-file", "", "tcp with TLS: CA of the engine, PEM")
	flags.StringVar(&i.crt, "docker-cert-file", "", "tcp with TLS: client certificate, PEM")
	flags.StringVar(&i.k, "docker-key-file", "", "tcp with TLS: its key, PEM")
	flags.StringArrayVar(&i.inspect, "inspect", nil, "file with the output of docker inspect, once for each")
	if name == "traefik" {
		flags.StringArrayVar(&i.entry, "entrypoint", nil, "NAME=PORT of an entry point that Traefik's own arguments do not tell")
	}
	return cmd
}

func (p Program) importHAProxy() *cobra.Command {
	i := importing{p: p}
	var file string
	var keepalived []string
	cmd := &cobra.Command{
		Use:   "haproxy --haproxy FILE [--keepalived FILE] -o DIR",
		Short: "Import haproxy.cfg and keepalived.conf",
		Example: `  vipilot import haproxy --haproxy haproxy.cfg --keepalived lb1.conf --keepalived lb2.conf \
    --node lb1=192.0.2.21 --node lb2=192.0.2.22 -o fleet`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usageError{errors.New("--haproxy FILE is required; see vipilot import haproxy --help")}
			}
			var sources []importer.Source
			for _, name := range append([]string{file}, keepalived...) {
				text, err := readBounded(name)
				if err != nil {
					return err
				}
				sources = append(sources, importer.Source{Name: name, Text: text})
			}
			return i.do(func(o importer.Options) (*importer.Repository, error) {
				return importer.HAProxy(sources[0], sources[1:], o)
			})
		},
	}
	i.flags(cmd.Flags())
	cmd.Flags().StringVar(&file, "haproxy", "", "haproxy.cfg (required)")
	cmd.Flags().StringArrayVar(&keepalived, "keepalived", nil, "keepalived.conf, once for each --node and in their order")
	return cmd
}

// readBounded reads a file of a size that a person would write.
func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read what to import: %w", err)
	}
	defer f.Close()
	const most = 64 << 20
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("read what to import: %w", err)
	}
	if len(data) > most {
		return nil, fmt.Errorf("read what to import: %s is larger than 64 MiB", name)
	}
	return data, nil
}

func (i *importing) containers(ctx context.Context) ([]importer.Container, error) {
	if (i.docker == "") == (len(i.inspect) == 0) {
		return nil, usageError{errors.New("say where the containers are: --docker URL or --inspect FILE")}
	}
	var containers []importer.Container
	for _, name := range i.inspect {
		data, err := readBounded(name)
		if err != nil {
			return nil, err
		}
		some, err := importer.ReadInspect(strings.NewReader(string(data)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		containers = append(containers, some...)
	}
	if i.docker == "" {
		return containers, nil
	}
	var secure *tls.Config
	if i.ca != "" || i.crt != "" || i.k != "" {
		var err error
		if secure, err = clientTLS(i.ca, i.crt, i.k); err != nil {
			return nil, err
		}
	}
	return importer.AskDocker(ctx, i.docker, secure)
}

// do imports, drops what vipilot would refuse, writes, and says what was left.
func (i *importing) do(read func(importer.Options) (*importer.Repository, error)) error {
	o, err := i.options()
	if err != nil {
		return err
	}
	repo, err := read(o)
	if err != nil {
		return err
	}
	files, err := settle(repo)
	if err != nil {
		return err
	}
	if repo.Services() == 0 {
		i.tell(repo)
		return errors.New("import: no service was found; nothing is written")
	}
	if err := i.write(files); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintln(i.p.Stdout, filepath.Join(i.out, name))
	}
	i.tell(repo)
	fmt.Fprintf(i.p.Stderr, "vipilot: %s imported, %s not carried over as they were; read the files, then: vipilot validate %s\n",
		count(repo.Services(), "service"), count(len(repo.Left()), "thing"), i.out)
	return nil
}

func (i *importing) tell(repo *importer.Repository) {
	for _, r := range repo.Left() {
		fmt.Fprintln(i.p.Stderr, r)
	}
}

func (i *importing) options() (o importer.Options, err error) {
	if i.out == "" {
		return o, usageError{errors.New("-o DIR is required; see vipilot import --help")}
	}
	o.Docker, o.EntryPoint = i.docker, make(map[string]uint16)
	for _, text := range i.nodes {
		name, where, _ := strings.Cut(text, "=")
		a, err := netip.ParseAddr(where)
		if err != nil || name == "" {
			return o, usageError{fmt.Errorf("--node %q is not NAME=ADDRESS", text)}
		}
		o.Nodes = append(o.Nodes, importer.Node{Name: name, Address: a})
	}
	if len(o.Nodes) == 0 {
		o.Nodes = []importer.Node{thisMachine()}
	}
	o.DockerTLS = importer.TLSFiles{CA: i.ca, Cert: i.crt, Key: i.k}
	for _, name := range []*string{&o.DockerTLS.CA, &o.DockerTLS.Cert, &o.DockerTLS.Key} {
		if *name == "" {
			continue
		}
		if *name, err = filepath.Abs(*name); err != nil { // the repository is elsewhere
			return o, fmt.Errorf("name a file of the engine's TLS: %w", err)
		}
	}
	for _, text := range i.vips {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return o, usageError{fmt.Errorf("--vip %q is not an address", text)}
		}
		o.VIPs = append(o.VIPs, a)
	}
	for _, text := range i.entry {
		name, port, _ := strings.Cut(text, "=")
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || name == "" {
			return o, usageError{fmt.Errorf("--entrypoint %q is not NAME=PORT", text)}
		}
		o.EntryPoint[name] = uint16(n)
	}
	return o, nil
}

// thisMachine is the node where nobody names one: a repository that is made on
// the machine it is for.
func thisMachine() importer.Node {
	name, err := os.Hostname()
	if err != nil || name == "" {
		name = "lb1"
	}
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && p.Addr().IsGlobalUnicast() {
			return importer.Node{Name: name, Address: p.Addr()}
		}
	}
	return importer.Node{Name: name, Address: netip.MustParseAddr("192.0.2.1")} // for documentation (RFC 5737): to be replaced
}

// settle loads what would be written, and drops the services that are refused
// until the rest loads. It fails when it is not a service that is refused.
func settle(repo *importer.Repository) (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "vipilot-import-")
	if err != nil {
		return nil, fmt.Errorf("make directory to try the import in: %w", err)
	}
	defer os.RemoveAll(dir)
	for {
		files, err := repo.Files()
		if err != nil || repo.Services() == 0 {
			return files, err
		}
		if err := os.RemoveAll(dir); err != nil {
			return nil, fmt.Errorf("try the import: %w", err)
		}
		if err := writeImport(dir, files); err != nil {
			return nil, err
		}
		_, err = config.Load(config.Dir(dir))
		var faults config.Faults
		if err == nil || !errors.As(err, &faults) {
			return files, err
		}
		dropped := false
		for _, f := range faults {
			rest, ofService := strings.CutPrefix(f.Path, "services.")
			for at := len(rest); ofService && at > 0; at = strings.LastIndexByte(rest[:at], '.') { // names have dots too
				if repo.Drop(rest[:at], strings.TrimPrefix(f.Path, "services.")+": "+f.Problem) {
					dropped = true
					break
				}
			}
		}
		if !dropped {
			return nil, fmt.Errorf("import: what was made of it is not valid, so nothing is written: %w", faults)
		}
	}
}

// write writes everything, or nothing where a file is there already.
func (i *importing) write(files map[string][]byte) error {
	if !i.force {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			if _, err := os.Lstat(filepath.Join(i.out, name)); err == nil {
				return fmt.Errorf("import: %s is there already; --force writes over it", filepath.Join(i.out, name))
			} else if !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("import: %w", err)
			}
		}
	}
	return writeImport(i.out, files)
}

func writeImport(dir string, files map[string][]byte) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		mode := os.FileMode(0o644)
		if strings.HasPrefix(name, "secrets/") {
			mode = 0o600
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("write import: %w", err)
		}
		if err := os.WriteFile(path, files[name], mode); err != nil {
			return fmt.Errorf("write import: %w", err)
		}
	}
	return nil
}

func clientTLS(ca, cert, key string) (*tls.Config, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("read the engine's CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read the engine's CA: %s holds no certificate", ca)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("read the client certificate: %w", err)
	}
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}
