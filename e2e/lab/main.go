package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// Main is the TestMain of a package whose tests share one lab: it builds the
// lab, hands it over, runs the tests and closes the lab, also when it is
// interrupted; what is left over fails the run. Without VIPILOT_E2E=1 there is
// no lab, and the tests that want one skip. The environment's VIPILOT_BINARY
// is the vipilot to run.
func Main(opts Options, use func(*Lab), tests func() int) (code int) {
	if os.Getenv("VIPILOT_E2E") != "1" {
		return tests()
	}
	// Never stopped: what its end sets off must not happen at the end of the tests.
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	opts.Binary, opts.Log = os.Getenv("VIPILOT_BINARY"), slog.Default()
	l, err := New(ctx, opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	use(l)
	go func() {
		<-ctx.Done()
		_ = l.Close()
		os.Exit(130)
	}()
	code = tests()
	if err := errors.Join(l.Close(), l.Leaks()); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	return code
}
