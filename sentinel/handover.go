package sentinel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vipilot/vipilot/routing/remote"
)

// leastRestart is what the next sentinel needs until its sessions stand again:
// less than that, and routers drop the routes before.
const leastRestart = 5 * time.Second

// errHandedOver ends a sentinel whose work another one goes on with.
var errHandedOver = errors.New("handed over")

// HandOver tells the sentinel of runDir to end without a word to routers and
// keepalived. See [remote.HandOver].
func HandOver(ctx context.Context, runDir string) error { return remote.HandOver(ctx, runDir) }

// stays is why this sentinel cannot be replaced now without a route lost, ""
// when it can: GoBGP's sessions end with it. FRR lives on by itself.
func (w *watchdog) stays() string {
	restart := w.want.Routing.GracefulRestart
	switch {
	case len(w.speaker.Announced()) == 0:
		return ""
	case restart == 0:
		return "its BGP sessions would end with it, and graceful_restart is off: drain the node"
	case restart < leastRestart:
		return fmt.Sprintf("its BGP sessions would end with it, and graceful_restart (%s) is shorter than the %s the next one needs: drain the node", restart, leastRestart)
	}
	peers := w.speaker.Peers()
	for _, name := range slices.Sorted(maps.Keys(peers)) {
		if p := peers[name]; p.State == peerIsUp && !p.KeepsRoutes {
			return fmt.Sprintf("its BGP sessions would end with it, and the router of peer %s does not keep routes meanwhile: drain the node", name)
		}
	}
	return ""
}

// handOver answers, then ends the sentinel. One that would lose a route by it refuses.
func handOver(ctx context.Context, w *watchdog, rw http.ResponseWriter, r *http.Request) {
	var why string
	if !w.call(ctx, func() { why = w.stays() }) {
		answer(rw, http.StatusServiceUnavailable, map[string]string{"error": "the sentinel is stopping"})
		return
	}
	if why != "" {
		answer(rw, http.StatusConflict, map[string]string{"error": why})
		return
	}
	answer(rw, http.StatusOK, struct{}{})
	_ = http.NewResponseController(rw).Flush()
	w.do(ctx, func() { w.handedOver = true })
}

// inherit takes up the orders of the sentinel before. One that handed over just
// now was heard by routers; it says so, and when, in a file that counts once.
func (w *watchdog) inherit(ctx context.Context, want remote.Want) {
	text, err := os.ReadFile(w.heirFile)
	_ = os.Remove(w.heirFile)
	left, bad := strconv.ParseInt(string(text), 10, 64)
	if age := sinceBoot() - time.Duration(left); err == nil && bad == nil && age >= 0 && age < succession {
		w.hearing = heir(want.Routing.GracefulRestart, time.Now())
	}
	w.obey(ctx, want)
}

// leave ends without a word to routers and keepalived. The dead man's switch
// stays on guard until the next sentinel is there.
func (w *watchdog) leave() error {
	w.unwatch()
	if w.guard != nil {
		w.guard.handOver()
	}
	w.frr.Leave()
	if !w.hearing.deaf {
		_ = os.WriteFile(w.heirFile, strconv.AppendInt(nil, int64(sinceBoot()), 10), 0o600) // without it the next one listens from the beginning
	}
	w.log.Info("sentinel ends: another one goes on")
	return errHandedOver
}

// sinceBoot is a clock that two processes share and nobody sets.
func sinceBoot() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
	return time.Duration(now.Nano())
}
