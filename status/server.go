package status

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ServerOptions are the parts of a [Server].
type ServerOptions struct {
	Board   *Board
	Logger  *slog.Logger // nil = silent
	Version string       // of the program
	// Sync looks for a new configuration now and returns when it was taken or
	// refused; nil = not offered.
	Sync func(context.Context) error
	// Explain answers GET /v1/explain; nil = not offered.
	Explain func(context.Context, Question) (Answer, error)
	// Plan answers POST /v1/plan; an error that is [ErrInvalid] is the asker's
	// fault. nil = not offered.
	Plan func(context.Context, PlanRequest) (Plan, error)
	// Approve lets the revision that waits through, named by its beginning,
	// and gives its whole name; nil = not offered.
	Approve func(ctx context.Context, revision string) (approved string, err error)
	// Traffic tells what HAProxy counted for a service; nil = not offered.
	Traffic func(ctx context.Context, service string) (Traffic, error)
	// Export writes HAProxy's own metrics, those of servers only if asked;
	// nil = not offered.
	Export func(ctx context.Context, w io.Writer, servers bool) error
	// Actions are further requests that change state: POST /v1/<name> runs the
	// one with that name under the same rules as Sync.
	Actions map[string]http.Handler
	// Token lets a client on an untrusted listener change state; "" = none may.
	Token string
	// WebhookSecret lets a Git forge that signs with it ask for a look at the
	// source over POST /v1/sync, without a token; "" = none may.
	WebhookSecret string
	// Poke asks for such a look and does not wait for it; nil = not offered.
	Poke func()
	// Patience is how long a client may take to say what it wants, and to agree
	// on TLS; 0 = 5s.
	Patience time.Duration
	// Extra metrics, under names of their own.
	Extra []prometheus.Collector
}

// Limits of one listener. A reader needs few resources, so generous numbers
// cost little; none of them is "as much as they send".
const (
	maxStreams    = 256
	maxExporters  = 2
	maxHeader     = 16 << 10
	maxBody       = 1 << 20
	writeTimeout  = 30 * time.Second // of an answer, or of one event
	actionTimeout = 2 * time.Minute
	shutdownGrace = 3 * time.Second
	headerTimeout = 5 * time.Second
	bodyTimeout   = 5 * time.Second // after the header
)

// Server answers over HTTP from a [Board].
type Server struct {
	opts    ServerOptions
	log     *slog.Logger
	metrics http.Handler
	streams chan struct{} // a slot for each reader of events

	hooks      *hooks
	explainers chan struct{} // a slot for each explanation under way
	exporters  chan struct{} // a slot for each reader of HAProxy's exporter
	traffic    trafficMemory
	pages      *template.Template // nil = they do not parse, which a test rules out
	changes    bucket             // of what changes state
	asks       bucket             // of what costs more than a look at the report
}

// NewServer makes a server; it may serve several listeners at once.
func NewServer(opts ServerOptions) *Server {
	s := &Server{opts: opts, log: opts.Logger, streams: make(chan struct{}, maxStreams), explainers: make(chan struct{}, maxExplainers)}
	s.exporters = make(chan struct{}, maxExporters)
	s.traffic = trafficMemory{ask: opts.Traffic, busy: make(chan struct{}, 1)}
	s.changes = bucket{burst: changeBurst, every: changeEvery}
	s.asks = bucket{burst: askBurst, every: askEvery}
	s.hooks = &hooks{secret: opts.WebhookSecret, poke: opts.Poke, now: time.Now}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	pages, err := newPages()
	if err != nil {
		s.log.Error("read the page's templates", "err", err, "bug", true)
	}
	s.pages = pages
	s.metrics = s.metricsHandler()
	return s
}

// Serve answers on l until ctx ends, lets running requests finish for a
// moment, and returns nil. It closes l. On a trusted listener, the socket in
// the run directory, requests that change state need no token.
func (s *Server) Serve(ctx context.Context, l net.Listener, trusted bool) error {
	patience := cmp.Or(s.opts.Patience, headerTimeout)
	h := &http.Server{
		Handler:           s.handler(trusted, ctx.Done()),
		ReadHeaderTimeout: patience,
		ReadTimeout:       patience + bodyTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve status on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if h.Shutdown(grace) != nil {
		h.Close() // who is still busy is cut off: the daemons do not depend on it
	}
	<-failed
	return nil
}

// handler routes the requests of one listener. The mux answers a wrong method
// with 405 and Allow by itself.
func (s *Server) handler(trusted bool, stop <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.serveReport)
	mux.HandleFunc("GET /v1/node", s.serveNode)
	mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, r *http.Request) { s.serveEvents(w, r, stop) })
	mux.HandleFunc("GET /v1/explain", s.sparing(trusted, s.serveExplain))
	mux.HandleFunc("GET /v1/traffic", s.sparing(trusted, s.serveTraffic))
	mux.HandleFunc("GET /metrics/haproxy", s.sparing(trusted, s.serveExporter))
	mux.HandleFunc("GET /services/{name}", s.sparing(trusted, s.serveServicePage))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", s.serveReady)
	mux.Handle("GET /metrics", s.metrics)
	mux.HandleFunc("GET /{$}", s.servePage)
	mux.HandleFunc("GET /page.css", serveAsset("text/css; charset=utf-8", "page.css"))
	mux.HandleFunc("GET /page.js", serveAsset("text/javascript; charset=utf-8", "page.js"))
	mux.HandleFunc("GET /icon.svg", serveAsset("image/svg+xml", "icon.svg"))
	mux.Handle("POST /v1/sync", s.hooks.orHook(s.guard(trusted, maxBody, http.HandlerFunc(s.serveSync))))
	mux.Handle("POST /v1/plan", s.guard(trusted, maxPlan, http.HandlerFunc(s.servePlan)))
	mux.Handle("POST /v1/approve", s.guard(trusted, maxBody, http.HandlerFunc(s.serveApprove)))
	for name, action := range s.opts.Actions {
		mux.Handle("POST /v1/"+name, s.guard(trusted, maxBody, action))
	}
	return secure(http.NewCrossOriginProtection().Handler(mux)) // a browser with a client certificate must not act for another site
}

// secure sets what every answer carries. The page may load its own style and
// script and nothing else, and nobody may frame it.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "+
			"base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// guard lets through who may change state, and bounds what they send.
func (s *Server) guard(trusted bool, most int64, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !trusted && !s.entitled(w, r) {
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), actionTimeout)
		defer cancel()
		extend(w, actionTimeout)
		r.Body = http.MaxBytesReader(w, r.Body, most)
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// extend gives a long request more time than the server's defaults. An error
// means a writer without deadlines, which needs no extension.
func extend(w http.ResponseWriter, d time.Duration) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(d))
	_ = control.SetWriteDeadline(time.Now().Add(d + writeTimeout))
}

// report is the last one; before the first a report that says so.
func (s *Server) report() *Report {
	if r := s.opts.Board.Report(); r != nil {
		return r
	}
	starting := "starting: the first round is not finished"
	return &Report{Version: s.opts.Version, Config: Config{Error: &starting}}
}

func (s *Server) serveReport(w http.ResponseWriter, r *http.Request) {
	body, err := json.Marshal(s.report())
	if err != nil {
		s.log.Error("render the report", "err", err)
		plain(w, http.StatusInternalServerError, "the report cannot be rendered; see the log")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(body, '\n'))
}

func (s *Server) serveReady(w http.ResponseWriter, r *http.Request) {
	if reasons := s.report().Unready(); len(reasons) > 0 {
		plain(w, http.StatusServiceUnavailable, strings.Join(reasons, "\n"))
		return
	}
	plain(w, http.StatusOK, "ok")
}

func (s *Server) serveSync(w http.ResponseWriter, r *http.Request) {
	if s.opts.Sync == nil {
		plain(w, http.StatusNotImplemented, "this controller does not follow a source")
		return
	}
	err := s.opts.Sync(r.Context())
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		plain(w, http.StatusGatewayTimeout, err.Error())
	case err != nil:
		plain(w, http.StatusUnprocessableEntity, err.Error())
	default:
		plain(w, http.StatusOK, "ok")
	}
}

func (s *Server) serveApprove(w http.ResponseWriter, r *http.Request) {
	revision := r.URL.Query().Get("revision")
	switch {
	case s.opts.Approve == nil:
		plain(w, http.StatusNotImplemented, "this controller does not wait for approval")
		return
	case revision == "":
		plain(w, http.StatusBadRequest, "name the revision: POST /v1/approve?revision=REVISION; GET /v1/status has it under config.pending")
		return
	}
	approved, err := s.opts.Approve(r.Context(), revision)
	if err != nil {
		plain(w, http.StatusConflict, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(Approval{Revision: approved})
}

// Approval is the answer of POST /v1/approve.
type Approval struct {
	Revision string `json:"revision"` // the whole name of what was let through
}

func plain(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	fmt.Fprintln(w, text)
}
