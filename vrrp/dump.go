package vrrp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vipilot/vipilot/internal/command"
	"github.com/vipilot/vipilot/internal/supervise"
)

const (
	pollInterval = 10 * time.Millisecond  // paces every wait for keepalived to do something
	askAgain     = 100 * time.Millisecond // when no state was written by then
)

// errNoDump says that this keepalived was built without JSON.
var errNoDump = errors.New("keepalived was built without JSON")

// dumped is one instance as keepalived itself sees it.
type dumped struct {
	Data dumpedInstance `json:"data"`
}

type dumpedInstance struct {
	Name     string   `json:"iname"`
	VRID     uint8    `json:"vrid"`
	Priority uint8    `json:"base_priority"`
	State    int      `json:"state"`
	Excluded []string `json:"evips"` // "203.0.113.10 dev eth0 scope global set"
}

// addresses gives the excluded addresses, sorted.
func (d dumpedInstance) addresses() []netip.Addr {
	var all []netip.Addr
	for _, text := range d.Excluded {
		text, _, _ = strings.Cut(text, " ")
		text, _, _ = strings.Cut(text, "/")
		if a, err := netip.ParseAddr(text); err == nil {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

// notices reads the roles out of a dump.
func notices(dump []dumped) []notice {
	roles := map[int]Role{1: Backup, 2: Master, 3: Fault}
	var all []notice
	for _, d := range dump {
		if role, ok := roles[d.Data.State]; ok {
			all = append(all, notice{d.Data.Name, role})
		}
	}
	return all
}

// differs says what a dump does not show of want, "" when it shows all.
func differs(dump []dumped, want Config) string {
	if len(dump) != len(want.Instances) {
		return fmt.Sprintf("%d instances instead of %d", len(dump), len(want.Instances))
	}
	for _, i := range want.Instances {
		at := slices.IndexFunc(dump, func(d dumped) bool { return d.Data.Name == i.Name })
		if at < 0 {
			return fmt.Sprintf("no instance %q", i.Name)
		}
		d := dump[at].Data
		if d.VRID != i.VRID || d.Priority != i.Priority {
			return fmt.Sprintf("instance %q with VRID %d and priority %d", i.Name, d.VRID, d.Priority)
		}
		if !slices.Equal(d.addresses(), i.sortedAddresses()) {
			return fmt.Sprintf("instance %q with addresses %v", i.Name, d.addresses())
		}
	}
	return ""
}

// jsonSignal asks keepalived for the signal that makes it write its state.
func jsonSignal(ctx context.Context, binary string) (syscall.Signal, error) {
	out, err := command.Run(ctx, binary, "--signum=JSON")
	var failed *command.Error
	if errors.As(err, &failed) && failed.Code > 0 {
		return 0, errNoDump
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil || n < 1 || n > 64 {
		return 0, errNoDump
	}
	return syscall.Signal(n), nil
}

// requestDump makes keepalived write its state to file and reads it.
// child is the file with the pid of the VRRP process.
func requestDump(ctx context.Context, p *supervise.Process, sig syscall.Signal, file, child string) ([]dumped, error) {
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read state of keepalived: %w", err)
	}
	var asked time.Time
	for {
		// The signal would kill a process that does not yet wait for it, and
		// gets lost in one that is reloading.
		if time.Since(asked) > askAgain && takesSignal(p.PID, sig) && takesSignal(readPID(child), sig) {
			if err := p.Signal(sig); err != nil {
				return nil, err
			}
			asked = time.Now()
		}
		if err := pause(ctx, p); err != nil {
			return nil, err
		}
		data, err := os.ReadFile(file)
		var dump []dumped
		if err == nil && json.Unmarshal(data, &dump) == nil {
			return dump, nil
		}
	}
}

// pause waits a little; it fails when the process or ctx has ended.
func pause(ctx context.Context, p *supervise.Process) error {
	select {
	case <-p.Done():
		return supervise.ErrNotRunning
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pollInterval):
		return nil
	}
}

// takesSignal reports whether the process catches sig, or blocks it to read it
// from a signalfd.
func takesSignal(pid int, sig syscall.Signal) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		if key != "SigCgt" && key != "SigBlk" {
			continue
		}
		mask, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err == nil && mask>>(sig-1)&1 == 1 {
			return true
		}
	}
	return false
}

// readPID gives the number in a pid file, 0 when there is none.
func readPID(file string) int {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 1 {
		return 0
	}
	return pid
}
