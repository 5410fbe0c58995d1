package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vipilot/vipilot/internal/supervise"
)

const (
	dirPrefix = "vipilot-lab-"
	marker    = "VIPILOT_LAB" // environment variable of every process of a lab
	cgroups   = "/sys/fs/cgroup"
)

// owner is the process a lab belongs to; it is kept in owner.json of its directory.
type owner struct {
	PID       int    `json:"pid"`
	StartTime uint64 `json:"start_time"` // tells it from a later process of the same number
}

func (o owner) isAlive() bool {
	started, err := supervise.StartTime(o.PID)
	return err == nil && started == o.StartTime
}

// claimDir makes the lab's directory and writes down whose it is.
func (l *Lab) claimDir() error {
	// /tmp itself and not $TMPDIR: unix sockets must stay below 108 bytes.
	dir, err := os.MkdirTemp("/tmp", dirPrefix+l.opts.Kind+"-")
	if err != nil {
		return fmt.Errorf("make the lab's directory: %w", err)
	}
	l.Dir, l.id = dir, filepath.Base(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // daemons that drop root must pass
		return err
	}
	started, err := supervise.StartTime(os.Getpid())
	if err != nil {
		return err
	}
	data, err := json.Marshal(owner{PID: os.Getpid(), StartTime: started})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "owner.json"), data, 0o644)
}

// Sweep removes what labs left whose owner is dead. Labs in use are not touched.
func Sweep() error {
	var errs []error
	for dir, o := range labs() {
		if !o.isAlive() {
			errs = append(errs, remove(dir))
		}
	}
	return errors.Join(errs...)
}

// StopAll asks the owner of every lab of one kind to end, waits for that, and
// sweeps. It returns how many it asked.
func StopAll(ctx context.Context, kind string) (int, error) {
	asked := 0
	for dir, o := range labs() {
		if !strings.HasPrefix(filepath.Base(dir), dirPrefix+kind+"-") || !o.isAlive() {
			continue
		}
		asked++
		if err := syscall.Kill(o.PID, syscall.SIGTERM); err != nil {
			return asked, fmt.Errorf("stop the lab %s: %w", dir, err)
		}
		err := Poll(ctx, 30*time.Second, func(context.Context) error {
			if o.isAlive() {
				return fmt.Errorf("process %d of %s still runs", o.PID, dir)
			}
			return nil
		})
		if err != nil {
			return asked, err
		}
	}
	return asked, Sweep()
}

// labs are the directories of all labs with their owners. One without a
// readable owner is left alone for a minute: it may be at its beginning.
func labs() map[string]owner {
	found := make(map[string]owner)
	dirs, _ := filepath.Glob("/tmp/" + dirPrefix + "*")
	for _, dir := range dirs {
		var o owner
		data, err := os.ReadFile(filepath.Join(dir, "owner.json"))
		if err == nil {
			err = json.Unmarshal(data, &o)
		}
		if err != nil {
			if info, statErr := os.Stat(dir); statErr != nil || time.Since(info.ModTime()) < time.Minute {
				continue
			}
		}
		found[dir] = o
	}
	return found
}

// remove ends the processes of a lab, should any be left, and removes its
// control groups and its directory.
func remove(dir string) error {
	id := filepath.Base(dir)
	return Poll(context.Background(), Patience, func(context.Context) error {
		for _, pid := range processes(id) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		for _, group := range groups(id) {
			removeGroup(group)
		}
		if left := groups(id); len(left) > 0 { // the directory goes last: by it a later Sweep finds the rest
			return fmt.Errorf("control groups that cannot be removed: %v", left)
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		return leaks(id)
	})
}

// leaks names what is left of a lab: processes, mounts, control groups, files.
func leaks(id string) error {
	var errs []error
	for _, pid := range processes(id) {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		errs = append(errs, fmt.Errorf("process %d: %s", pid, strings.ReplaceAll(string(line), "\x00", " ")))
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	errs = append(errs, err)
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, id) {
			errs = append(errs, errors.New("mount: "+strings.TrimSpace(line)))
		}
	}
	for _, group := range groups(id) {
		errs = append(errs, errors.New("control group: "+group))
	}
	if _, err := os.Stat("/tmp/" + id); !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, errors.New("directory: /tmp/"+id))
	}
	return errors.Join(errs...)
}

// Leaks reports what is left of this lab after Close; nil is the good answer.
func (l *Lab) Leaks() error {
	if err := leaks(l.id); err != nil {
		return fmt.Errorf("left over from the lab: %w", err)
	}
	return nil
}

// processes finds a lab's processes: those that carry its mark in their
// environment, and its containers by their control group.
func processes(id string) []int {
	var found []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() {
			continue
		}
		environ, _ := os.ReadFile(dir + "/environ")
		group, _ := os.ReadFile(dir + "/cgroup")
		if strings.Contains("\x00"+string(environ), "\x00"+marker+"="+id+"\x00") || strings.Contains(string(group), "/"+id+"-") {
			found = append(found, pid)
		}
	}
	return found
}

// groups finds a lab's control groups, of version 1 and 2.
func groups(id string) []string {
	one, _ := filepath.Glob(cgroups + "/" + id + "-*")
	two, _ := filepath.Glob(cgroups + "/*/" + id + "-*")
	return append(one, two...)
}

// removeGroup removes a control group and those in it, the innermost first.
func removeGroup(dir string) {
	inner, _ := os.ReadDir(dir)
	for _, d := range inner {
		if d.IsDir() {
			removeGroup(filepath.Join(dir, d.Name()))
		}
	}
	_ = syscall.Rmdir(dir)
}

// missingPrograms names the programs the lab runs that are not installed.
func missingPrograms() error {
	var absent []string
	for _, name := range []string{"dockerd", "containerd", "haproxy", "keepalived", "ip", "iptables", "go", zebra, bgpd, "vtysh", "bird"} {
		if _, err := exec.LookPath(name); err != nil {
			absent = append(absent, name)
		}
	}
	if absent != nil {
		return fmt.Errorf("not installed: %s (make setup installs what is missing)", strings.Join(absent, ", "))
	}
	return nil
}

// Patience is how long a test waits for what has to come, where how long it
// takes is not what it tries: long enough for a machine that has much else to do.
const Patience = 90 * time.Second

// Poll calls check every few milliseconds until it returns nil, and gives its
// last error when ctx ends or the time is up.
func Poll(ctx context.Context, limit time.Duration, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // the end of ctx itself explains nothing
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", limit, last)
		case <-time.After(pause):
		}
	}
}
