package cli

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/config/git"
	"github.com/vipilot/vipilot/controller"
	"github.com/vipilot/vipilot/status"
)

// oneOf is a flag that takes one of a few words.
type oneOf struct {
	value string
	words []string
}

func (o *oneOf) String() string { return o.value }
func (o *oneOf) Type() string   { return strings.Join(o.words, "|") }

func (o *oneOf) Set(s string) error {
	for _, w := range o.words {
		if s == w {
			o.value = s
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s", s, strings.Join(o.words, ", "))
}

type runFlags struct {
	config, node, host, docker, runDir, stateDir, listen, tokenFile string
	onExit, logFormat                                               oneOf
	haproxy, keepalived, sentinel, frr                              oneOf
	syncInterval                                                    time.Duration
	hookFile, otlp, haproxyUser                                     string
	tls                                                             status.TLSFiles
	access                                                          git.Access
}

func (p Program) runCommand() *cobra.Command {
	hostname, _ := os.Hostname()
	f := runFlags{
		onExit:     oneOf{"drain", []string{"drain", "leave"}},
		logFormat:  oneOf{"text", []string{"text", "json"}},
		haproxy:    oneOf{"managed", []string{"managed", "attach"}},
		keepalived: oneOf{"managed", []string{"managed", "attach"}},
		sentinel:   oneOf{"managed", []string{"managed", "attach"}},
		frr:        oneOf{"managed", []string{"managed", "attach"}},
	}
	cmd := &cobra.Command{
		Use:   "run --config SOURCE",
		Short: "Run the controller of this node",
		Long: `Run the controller of this node. It starts and supervises HAProxy, keepalived and the
sentinel, or adopts those that a predecessor left running.

Each flag is also an environment variable: --run-dir is VIPILOT_RUN_DIR.
With --host it runs the reverse proxy of an application host (hosts.NAME.proxy) in place of
a node: HAProxy alone, in front of the containers of that host's engine.
On SIGTERM the node is drained first (--on-exit drain); a second signal ends at once.`,
		Example: `  vipilot run --config /etc/vipilot
  vipilot run --config 'git+https://git.example.net/fleet.git?ref=main' --git-token-file /etc/vipilot/token
  vipilot run --config /etc/vipilot --node lb1 --listen 10.77.0.21:9890 --log-format json
  vipilot run --config /etc/vipilot --host app1 --docker unix:///var/run/docker.sock`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.run(cmd, f) },
	}
	flags := cmd.Flags()
	accessFlags(flags, &f.access)
	flags.StringVar(&f.config, "config", "", "directory or Git URL of the configuration (required)")
	flags.StringVar(&f.node, "node", hostname, "this node's name under nodes:")
	flags.StringVar(&f.host, "host", "", "run the proxy of this host, under hosts:, in place of a node")
	flags.StringVar(&f.docker, "docker", "", "with --host: its engine as it reaches it itself, as unix:///var/run/docker.sock")
	flags.StringVar(&f.runDir, "run-dir", "/run/vipilot", "sockets and generated files")
	flags.StringVar(&f.stateDir, "state-dir", "/var/lib/vipilot", "last good configuration and endpoints, Git checkouts")
	flags.StringVar(&f.listen, "listen", "127.0.0.1:9890", "status listener, HOST:PORT or unix:PATH")
	flags.StringVar(&f.tokenFile, "token-file", "", "file with the token that lets TCP clients change state")
	flags.StringVar(&f.tls.Cert, "tls-cert-file", "", "certificate of the status listener with its chain, in PEM: it speaks TLS then")
	flags.StringVar(&f.tls.Key, "tls-key-file", "", "its key")
	flags.StringVar(&f.tls.ClientCA, "client-ca-file", "", "authority whose client certificates let TCP clients change state, as the token does")
	flags.StringVar(&f.hookFile, "webhook-secret-file", "", "file with the secret by which a Git forge signs its webhooks, POST /v1/sync")
	flags.StringVar(&f.otlp, "otlp-endpoint", "", "OpenTelemetry collector, as http://HOST:4318, that gets a trace of every round (default: none, or OTEL_EXPORTER_OTLP_ENDPOINT)")
	flags.Var(&f.onExit, "on-exit", "on SIGTERM: drain the node in order, or leave everything running")
	flags.Var(&f.logFormat, "log-format", "how to log on stderr")
	flags.Var(&f.haproxy, "haproxy", "start and supervise HAProxy, or attach to one that runs")
	flags.StringVar(&f.haproxyUser, "haproxy-user", "", "whom HAProxy's workers run as, locked up (default: haproxy; with --haproxy attach: whom it is started as)")
	flags.Var(&f.keepalived, "keepalived", "start and supervise keepalived, or attach to one that runs")
	flags.Var(&f.sentinel, "sentinel", "start and supervise the sentinel, or attach to one that runs (vipilot init sentinel)")
	flags.Var(&f.frr, "frr", "start and supervise an FRR of its own, where the configuration needs one, or attach to the system's")
	flags.DurationVar(&f.syncInterval, "sync-interval", 30*time.Second, "how often a Git source is polled, give or take a fifth; a directory is followed at once")
	return cmd
}

// collectAt is how much garbage, in percent of what is in use, the controller
// lets lie about: half of Go's default costs little and keeps a node small. It
// makes most of it while it looks at all engines for the first time; what that
// took is given back when it is over.
const (
	collectAt   = 50
	startIsOver = 10 * time.Second
)

func (p Program) collect() {
	if p.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
		time.AfterFunc(startIsOver, debug.FreeOSMemory)
	}
}

func (p Program) run(cmd *cobra.Command, f runFlags) error {
	if f.config == "" {
		return usageError{fmt.Errorf("--config is required; see vipilot run --help")}
	}
	token, err := readToken(f.tokenFile)
	if err != nil {
		return err
	}
	hook, err := readSecret("--webhook-secret-file", f.hookFile)
	if err != nil {
		return err
	}
	var tlsConfig *tls.Config
	if f.tls != (status.TLSFiles{}) {
		if tlsConfig, err = f.tls.Load(); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	for _, dir := range []*string{&f.runDir, &f.stateDir} {
		if *dir, err = filepath.Abs(*dir); err != nil {
			return fmt.Errorf("find directory: %w", err)
		}
	}
	p.collect()
	engine, err := f.engine()
	if err != nil {
		return err
	}
	log := p.logger(f.logFormat.value)
	source, err := follow(f.config, f.stateDir, f.access, f.syncInterval, log)
	if err != nil {
		return err
	}
	tracer, farewell, err := tracing{endpoint: f.otlp, node: cmp.Or(f.host, f.node)}.start(cmd.Context(), p, log)
	if err != nil {
		return err
	}
	defer farewell()
	log.Info("starting", "version", p.Version, "node", cmp.Or(f.host, f.node), "config", fmt.Sprint(source), "run_dir", f.runDir, "state_dir", f.stateDir)
	return controller.New(controller.Options{
		Node: f.node, Host: f.host, Engine: engine, Source: source, RunDir: f.runDir, StateDir: f.stateDir, Listen: f.listen, Token: token, WebhookSecret: hook, TLS: tlsConfig,
		AttachHAProxy: f.haproxy.value == "attach", HAProxyUser: f.haproxyUser, AttachKeepalived: f.keepalived.value == "attach", AttachSentinel: f.sentinel.value == "attach",
		AttachFRR: f.frr.value == "attach", DrainOnEnd: f.onExit.value == "drain", Version: p.Version, Executable: self, Logger: log, Tracer: tracer,
	}).Run(cmd.Context())
}

// engine is the engine that --docker names, nil without it.
func (f runFlags) engine() (*config.DockerURL, error) {
	if f.docker == "" {
		return nil, nil
	}
	if f.host == "" {
		return nil, usageError{errors.New("--docker goes with --host; a node finds the engines under hosts:")}
	}
	url, err := config.ParseDockerURL(f.docker)
	if err != nil {
		return nil, usageError{fmt.Errorf("--docker: %w", err)}
	}
	return &url, nil
}

func (p Program) logger(format string) *slog.Logger {
	if format == "json" {
		return slog.New(slog.NewJSONHandler(p.Stderr, nil))
	}
	return slog.New(slog.NewTextHandler(p.Stderr, nil))
}

func readToken(name string) (string, error) { return readSecret("--token-file", name) }

// readSecret reads the file that a flag names; no flag, no secret.
func readSecret(flag, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", flag, err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", fmt.Errorf("%s %s is empty", flag, name)
	}
	return token, nil
}
