// Package command runs another program to its end, with a deadline, and turns
// its failure into an error that carries what the program said.
package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// maxStderr bounds what an error repeats of a program's complaints.
const maxStderr = 4 << 10

// Error is a program that ended with a failure.
type Error struct {
	Name   string
	Code   int    // exit code, -1 when it did not end by itself
	Output string // what it wrote on stderr, else on stdout, trimmed
	Err    error
}

func (e *Error) Error() string {
	if e.Output == "" {
		return fmt.Sprintf("run %s: %v", e.Name, e.Err)
	}
	return fmt.Sprintf("run %s: %v: %s", e.Name, e.Err, e.Output)
}

// Unwrap gives the cause, e.g. exec.ErrNotFound or context.DeadlineExceeded.
func (e *Error) Unwrap() error { return e.Err }

// Run starts name with args, waits for its end and returns its stdout. A
// non-zero exit, a missing program or an ended ctx is an *Error. The program
// is killed when ctx ends.
func Run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if err == nil {
		return stdout.String(), nil
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	said := strings.TrimSpace(stderr.String())
	if said == "" {
		said = strings.TrimSpace(stdout.String())
	}
	if len(said) > maxStderr {
		said = said[:maxStderr] + "…"
	}
	code := -1
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	return stdout.String(), &Error{Name: name, Code: code, Output: said, Err: err}
}
