package vrrp

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// asked is want as this keepalived can be asked for it: one that is somebody
// else's, or that may not change groups, cannot run a script. It tries to all
// the same, says every time that it could not, and takes that for a success.
func (k *Keepalived) asked(want Config) Config {
	_, noFlock := os.Stat("/usr/bin/flock")
	_, noFalse := os.Stat("/usr/bin/false")
	if k.opts.Attach || !mayChangeGroups() || errors.Join(noFlock, noFalse) != nil {
		want.LifeFile = ""
	}
	return want
}

// mayChangeGroups reports whether this process, and so its children, have CAP_SETGID.
func mayChangeGroups() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SETGID) != 0
}
