package vrrp

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// yieldFile is tracked by every instance. 0: as configured. 1: any other node
// may have the addresses. An instance that preempts goes to the lowest
// priority, so that it holds them until another node has taken over; one that
// does not would never be relieved that way and becomes a fault.
const yieldFile = "yield.track"

// yieldWeight brings every priority down to the lowest, for keepalived adds it
// and then keeps to 1..254.
const yieldWeight = -253

// speakerWeight brings every priority down to where only other nodes in the
// same trouble are, and nodes that yield. The first node stays above those, so
// that a router that is away for all moves nothing.
const speakerWeight = -198

// reliefFile is tracked by an instance that is announced and does not preempt: 1
// in it is a fault, for no lower priority would have another node take over.
func (i Instance) reliefFile() string {
	if i.Preempt || !i.Announced {
		return ""
	}
	return fmt.Sprintf("relief.%d.track", i.VRID)
}

// setSwitches writes the track files that are ours.
func (k *Keepalived) setSwitches(want Config) (changed bool, err error) {
	changed, err = k.setSwitch(yieldFile, want.Yield)
	for _, i := range want.Instances {
		if name := i.reliefFile(); name != "" && err == nil {
			var did bool
			did, err = k.setSwitch(name, i.Relieved)
			changed = changed || did
		}
	}
	return changed, err
}

// setSwitch writes one file, in place and with one write of constant length, so
// that keepalived's inotify sees one change and never an empty file.
func (k *Keepalived) setSwitch(name string, on bool) (changed bool, err error) {
	name, value := filepath.Join(k.opts.RunDir, name), "0\n"
	if on {
		value = "1\n"
	}
	if old, err := os.ReadFile(name); err == nil && string(old) == value {
		return false, nil
	}
	if err := os.MkdirAll(k.opts.RunDir, 0o755); err != nil {
		return false, fmt.Errorf("write track file: %w", err)
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return false, fmt.Errorf("write track file: %w", err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(value), 0); err != nil {
		return false, fmt.Errorf("write track file: %w", err)
	}
	return true, nil
}
