package vrrp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/vipilot/vipilot/internal/supervise"
	"github.com/vipilot/vipilot/render"
)

// Names in the run directory.
const (
	checkerRecord = "checker.json"
	checkerLoaded = "checker.loaded" // the hash of the blocks that it runs
	checkerPID    = "checker.pid"
	checkerChild  = "checker-child.pid"
	checkerBFD    = "checker-bfd.pid"
	checkerLog    = "checker.log"
)

// watchPace is how often the kernel's table and the checker's life are looked
// at: keepalived tells nobody which servers it takes out.
const watchPace = time.Second

// Balance is what becomes of the virtual servers on this node.
type Balance struct {
	Running bool
	PID     int
	Reloads int
	Missing error // why this node's kernel can carry none; nil when it can
	Err     error // why they are not carried though the kernel could
	// Weights are what the kernel has, by virtual server and real server; one
	// that failed its check is not there.
	Weights map[netip.AddrPort]map[netip.AddrPort]int
}

// checker is the second keepalived of a run directory: it runs nothing but
// the virtual servers and their checks. A keepalived that does both ends
// altogether where the kernel has no IPVS, and takes the VIPs with it.
type checker struct {
	opts    Options
	changed chan struct{}
	wake    chan struct{} // servers are wanted; tokens coalesce

	mu      sync.Mutex
	process *supervise.Process
	adopted bool
	wanted  []VirtualServer
	reloads int
	missing error
	err     error
	last    map[netip.AddrPort]map[netip.AddrPort]int
}

// set makes want true, on the file that is in place already.
func (c *checker) set(ctx context.Context, want []VirtualServer) (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.adopt()
	c.wanted = want
	if len(want) == 0 {
		c.missing, c.err = nil, nil
		return c.stop()
	}
	signal(c.wake)
	c.note(c.opts.IPVS())
	if c.missing != nil { // what was started when there was IPVS may find out by itself
		return false, nil
	}
	changed, c.err = c.load(ctx)
	return changed, c.err
}

// note keeps why the kernel cannot, and says it once.
func (c *checker) note(missing error) {
	if missing != nil && (c.missing == nil || c.missing.Error() != missing.Error()) {
		c.opts.Logger.Warn("UDP services are not served", "err", missing)
	}
	c.missing = missing
}

// load starts the checker, or has it read its file when its blocks are others.
func (c *checker) load(ctx context.Context) (changed bool, err error) {
	data, err := renderVirtual(c.wanted)
	if err != nil {
		return false, err
	}
	print := fingerprint(data)
	loaded, _ := os.ReadFile(c.path(checkerLoaded))
	switch {
	case !alive(c.process):
		err = c.start(ctx)
	case string(loaded) == print:
		return false, nil
	default:
		c.reloads++
		err = c.process.Signal(syscall.SIGHUP)
	}
	if err != nil {
		return true, fmt.Errorf("balance UDP: %w", err)
	}
	_, err = render.WriteFile(c.path(checkerLoaded), []byte(print), 0o600)
	return true, err
}

func (c *checker) start(ctx context.Context) error {
	binary, err := find(c.opts.Binary)
	if err != nil {
		return err
	}
	if err := c.clear(ctx); err != nil {
		return err
	}
	if info, err := os.Stat(c.path(checkerLog)); err == nil && info.Size() > maxLog {
		_ = os.Truncate(c.path(checkerLog), 0)
	}
	c.process, err = supervise.Start(supervise.Spec{
		Path: binary,
		Args: append([]string{
			"--dont-fork", "--log-console", "--no-syslog", "--check", "--use-file=" + c.path(confFile),
			"--pid=" + c.path(checkerPID), "--checkers_pid=" + c.path(checkerChild),
		}, idle(ctx, binary, c.path(checkerBFD))...),
		Env: []string{"TMPDIR=" + c.opts.RunDir}, Dir: c.opts.RunDir,
		Record: c.path(checkerRecord), Log: c.path(checkerLog),
	})
	if err == nil {
		c.opts.Logger.Info("started the checker of UDP services", "pid", c.process.PID)
	}
	return err
}

// clear ends a child whose parent was killed, and removes pid files, which
// keepalived would believe.
func (c *checker) clear(ctx context.Context) error {
	k := &Keepalived{opts: c.opts}
	return errors.Join(k.end(ctx, checkerPID), k.end(ctx, checkerChild))
}

// stop ends the checker, which takes its virtual servers out of the kernel.
func (c *checker) stop() (changed bool, err error) {
	if !alive(c.process) {
		return false, nil
	}
	if err := c.process.Stop(syscall.SIGTERM, stopTimeout); err != nil {
		return true, fmt.Errorf("stop the checker of UDP services: %w", err)
	}
	c.process = nil
	return true, nil
}

// adopt finds, once, what a dead controller left.
func (c *checker) adopt() {
	if c.adopted {
		return
	}
	c.adopted = true
	if p, err := supervise.Adopt(c.path(checkerRecord)); err == nil {
		c.process = p
	}
}

// run keeps the checker alive and tells when the kernel's table changes, until
// ctx ends. It sleeps while no virtual server is wanted.
func (c *checker) run(ctx context.Context) {
	pace := time.NewTicker(watchPace)
	defer pace.Stop()
	for {
		due := pace.C
		if !c.needed() {
			due = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
			continue
		case <-due:
		}
		if c.look(ctx) {
			signal(c.changed)
		}
	}
}

func (c *checker) needed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.wanted) > 0
}

// look restarts a checker that has ended, and reports whether anything is
// otherwise than at the last look.
func (c *checker) look(ctx context.Context) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.wanted) == 0 {
		return false
	}
	before := []any{c.missing != nil, c.err != nil, c.last}
	if c.missing != nil || !alive(c.process) {
		c.note(c.opts.IPVS())
	}
	if c.missing == nil && !alive(c.process) {
		if c.process != nil {
			c.opts.Logger.Warn("the checker of UDP services has ended; starting it again", "pid", c.process.PID)
		}
		_, c.err = c.load(ctx)
	}
	c.last = c.table()
	return !reflect.DeepEqual(before, []any{c.missing != nil, c.err != nil, c.last})
}

// table is what the kernel has; nil where it has nothing.
func (c *checker) table() map[netip.AddrPort]map[netip.AddrPort]int {
	data, err := os.ReadFile("/proc/thread-self/net/ip_vs")
	if err != nil || c.missing != nil {
		return nil
	}
	return parseIPVS(string(data))
}

// balance tells how things are.
func (c *checker) balance() Balance {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := Balance{Reloads: c.reloads, Missing: c.missing, Err: c.err}
	if len(c.wanted) > 0 {
		b.Weights = c.table()
	}
	if alive(c.process) {
		b.Running, b.PID = true, c.process.PID
	}
	return b
}

func (c *checker) path(name string) string { return filepath.Join(c.opts.RunDir, name) }

// kernelIPVS asks the kernel for IPVS, which has it load the module where
// there is one.
func kernelIPVS() error {
	if _, err := netlink.GenlFamilyGet("IPVS"); err != nil {
		text := strings.TrimSpace(err.Error())
		return fmt.Errorf("this node's kernel has no IPVS, which UDP needs (%s): modprobe ip_vs, or a kernel with CONFIG_IP_VS", text)
	}
	return nil
}

// setVirtual is Set for the virtual servers.
func (k *Keepalived) setVirtual(ctx context.Context, want Config) (changed bool, err error) {
	if len(want.Virtual) > 0 && len(want.Instances) == 0 { // else the file is in place
		data, err := Render(want, k.opts.RunDir)
		if err != nil {
			return false, err
		}
		if _, err := k.setSwitches(want); err != nil {
			return false, err
		}
		if _, err := k.install(ctx, data); err != nil {
			return false, err
		}
	}
	return k.checker.set(ctx, want.Virtual)
}

// Balance tells what becomes of the virtual servers.
func (k *Keepalived) Balance() Balance { return k.checker.balance() }

// Balanced has a token when [Keepalived.Balance] may have another answer. The
// channel is never closed.
func (k *Keepalived) Balanced() <-chan struct{} { return k.checker.changed }
