package sentinel

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"
)

// TestMain lets the test binary stand in for `vipilot sentinel`.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "--as-deadman" {
		exit(DeadMan(os.Args[2], os.Args[3], os.NewFile(3, "pipe")))
	}
	if len(os.Args) == 3 && os.Args[1] == "--as-sentinel" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		exit(Run(ctx, testOptions(os.Args[2])))
	}
	os.Exit(m.Run())
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func testOptions(runDir string) Options {
	return Options{
		RunDir: runDir, Build: "test", DeadMan: []string{"/proc/self/exe", "--as-deadman", runDir},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
}
