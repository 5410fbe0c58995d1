// Package gobgp speaks BGP with an embedded GoBGP. It announces exactly the
// prefixes of the last [routing.Config] and never takes a route from anyone.
// It listens on no port; sessions are opened from here. Whether a prefix may
// be announced is decided elsewhere.
//
//	s, err := gobgp.New(gobgp.Options{Logger: log})
//	changed, err := s.Set(ctx, want)
package gobgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/server"

	"github.com/vipilot/vipilot/routing"
)

// Options of a Speaker; the zero value is usable.
type Options struct {
	Logger *slog.Logger // nil = silent
	// APISocket, when given, serves GoBGP's own gRPC API there, for reading only:
	// `gobgp --target unix:///run/vipilot/speaker.sock neighbor`.
	APISocket string
}

// Speaker is one BGP speaker. There should be one for the life of a process,
// since GoBGP's server goroutine never ends. Its methods may be called from
// several goroutines.
type Speaker struct {
	log     *slog.Logger
	server  *server.BgpServer
	api     *readOnlyAPI
	faults  *faults
	changes chan struct{}

	mu        sync.Mutex // held over every change; never taken by a callback of the server's own goroutine
	closed    bool
	have      state
	stopWatch context.CancelFunc
	reached   map[netip.Addr]bool // peers that got past connecting since they were last idle; true = established
	started   bool                // a first round has run: later peers do not claim to restart
}

// state is what the server was last told.
type state struct {
	asn      uint32 // 0 = stopped
	routerID netip.Addr
	sessions map[netip.Addr]session
	names    map[netip.Addr]string
	prefixes map[netip.Prefix]routing.Prefix
	exports  map[netip.Addr]export // of peers that get something added
}

var _ routing.Speaker = (*Speaker)(nil)

// New starts the server. It speaks to nobody before the first Set.
func New(opts Options) (*Speaker, error) {
	log := opts.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Speaker{log: log.With("component", "speaker"), changes: make(chan struct{}, 1)}
	s.faults = newFaults(s.poke)
	logger := &bridge{log: s.log, faults: s.faults}
	options := []server.ServerOption{server.LoggerOption(logger)}
	if opts.APISocket != "" {
		var err error
		if s.api, err = newReadOnlyAPI(opts.APISocket); err != nil {
			return nil, err
		}
		options = append(options, s.api.options()...)
	}
	s.server = server.NewBgpServer(options...)
	var err error
	if logger.graft, err = newGraft(s.server, logger.report); err != nil {
		return nil, err
	}
	go s.server.Serve()
	return s, nil
}

// Set makes want true. Order: prefixes that go, peers that go, prefixes that
// come or change, what is added for each peer, peers that come or change; so a new session starts with all
// its prefixes, and an untouched session stays up. After an error the speaker
// remembers what it reached, and the next Set goes on from there.
func (s *Speaker) Set(ctx context.Context, want routing.Config) (changed bool, err error) {
	if err := want.Validate(); err != nil {
		return false, fmt.Errorf("set routing: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, errors.New("set routing: the speaker is closed")
	}
	if s.have.asn != 0 && (s.have.asn != want.ASN || s.have.routerID != want.RouterID) {
		s.log.Info("speaker stops: ASN or router id changes",
			"asn", s.have.asn, "wanted_asn", want.ASN, "router_id", s.have.routerID, "wanted_router_id", want.RouterID)
		s.stop(ctx)
		changed = true
	}
	if want.ASN == 0 {
		return changed, nil
	}
	if s.have.asn == 0 {
		if err := s.start(ctx, want); err != nil {
			return changed, err
		}
		changed = true
	}
	c := diff(s.have, want, s.resolve)
	err = s.apply(ctx, c)
	s.have.names = names(want.Peers)
	s.started = true
	if !c.empty() {
		s.poke()
	}
	return changed || !c.empty(), err
}

// Close withdraws everything and ends the sessions. The speaker cannot be used again.
func (s *Speaker) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	ctx := context.Background()
	var errs []error
	for prefix := range s.have.prefixes {
		errs = append(errs, s.withdraw(ctx, prefix))
	}
	s.stop(ctx)
	if s.api != nil {
		s.server.Stop() // ends the gRPC server too
	}
	return errors.Join(errs...)
}

// Changes pokes after anything that Peers tells may have changed. One reader.
func (s *Speaker) Changes() <-chan struct{} { return s.changes }

func (s *Speaker) poke() {
	select {
	case s.changes <- struct{}{}:
	default:
	}
}

func (s *Speaker) start(ctx context.Context, want routing.Config) error {
	err := s.server.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{
		Asn: want.ASN, RouterId: want.RouterID.String(), ListenPort: -1,
	}})
	if err != nil {
		return fmt.Errorf("start speaker: %w", err)
	}
	s.have = state{
		asn: want.ASN, routerID: want.RouterID, sessions: map[netip.Addr]session{},
		names: names(want.Peers), prefixes: map[netip.Prefix]routing.Prefix{},
	}
	s.reached = map[netip.Addr]bool{}
	if err := s.setPolicies(ctx); err != nil {
		s.stop(ctx)
		return fmt.Errorf("start speaker: %w", err)
	}
	watch, cancel := context.WithCancel(context.Background())
	s.stopWatch = cancel
	err = s.server.WatchEvent(watch, &api.WatchEventRequest{Peer: &api.WatchEventRequest_Peer{}},
		func(r *api.WatchEventResponse) {
			if e := r.GetPeer(); e != nil && watch.Err() == nil {
				s.peerEvent(watch, e.GetPeer())
			}
		})
	if err != nil {
		s.stop(ctx)
		return fmt.Errorf("watch peers: %w", err)
	}
	s.log.Info("speaker starts", "asn", want.ASN, "router_id", want.RouterID)
	return nil
}

// stop ends all sessions. The watch is cancelled first: StopBgp would leak it
// (gobgp issue 3366).
func (s *Speaker) stop(ctx context.Context) {
	if s.stopWatch != nil {
		s.stopWatch()
		s.stopWatch = nil
	}
	if s.have.asn != 0 {
		s.dropUnestablished(ctx)
		_ = s.server.StopBgp(ctx, &api.StopBgpRequest{}) // it has no failure but a nil request
	}
	s.have = state{}
	s.faults.reset()
}

// dropUnestablished removes the peers without a session. StopBgp forgets ASN and
// router ID while its peers still end, and one that is about to send its OPEN
// would read them just then; those whose session stands read them no more.
func (s *Speaker) dropUnestablished(ctx context.Context) {
	var idle []string
	_ = s.server.ListPeer(ctx, &api.ListPeerRequest{}, func(p *api.Peer) { // it has no failure but a nil request
		if p.GetState().GetSessionState() != api.PeerState_ESTABLISHED {
			idle = append(idle, p.GetConf().GetNeighborAddress())
		}
	})
	for _, address := range idle {
		_ = s.server.DeletePeer(ctx, &api.DeletePeerRequest{Address: address}) // or it is gone already
	}
}
