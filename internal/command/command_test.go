package command

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	out, err := Run(t.Context(), "sh", "-c", "echo hello")
	if err != nil || out != "hello\n" {
		t.Fatalf("Run = %q, %v", out, err)
	}
	_, err = Run(t.Context(), "sh", "-c", "echo no such VIP >&2; exit 5")
	var failed *Error
	if !errors.As(err, &failed) || failed.Code != 5 || failed.Output != "no such VIP" {
		t.Fatalf("Run = %#v, want exit code 5 with its stderr", err)
	}
	if _, err = Run(t.Context(), "vipilot-no-such-program"); !errors.Is(err, exec.ErrNotFound) {
		t.Fatalf("Run = %v, want exec.ErrNotFound", err)
	}
}

func TestRunDeadline(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := Run(ctx, "sleep", "60")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "run sleep") {
		t.Fatalf("Run = %v, want the deadline and the name", err)
	}
}
