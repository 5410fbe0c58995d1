package haproxy

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Jail is where a worker lives once it has opened its sockets and files: in a
// directory without anything but the socket it logs to, and those it reaches
// itself by, as a user without rights. The master stays root: it opens what the next worker needs. The zero
// value is no jail.
type Jail struct {
	Dir      string // absolute
	UID, GID int
}

// newJail looks whether a worker can be locked up as the user of that name.
// The reason is empty where it can.
func newJail(runDir, name string) (j Jail, why string) {
	if name == "" {
		return j, "no user is named"
	}
	if missing := missingCapabilities(unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SYS_CHROOT); missing != "" {
		return j, "without " + missing + " nobody can be locked up"
	}
	u, err := user.Lookup(name)
	if err != nil {
		return j, "there is no user " + name
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err1 != nil || err2 != nil || uid <= 0 || gid <= 0 {
		return j, fmt.Sprintf("the user %s is %s:%s", name, u.Uid, u.Gid)
	}
	return Jail{Dir: filepath.Join(runDir, "jail"), UID: uid, GID: gid}, ""
}

// missingCapabilities names those of the capabilities that this process, and so
// HAProxy, does not have.
func missingCapabilities(wanted ...int) string {
	names := map[int]string{unix.CAP_SETUID: "CAP_SETUID", unix.CAP_SETGID: "CAP_SETGID", unix.CAP_SYS_CHROOT: "CAP_SYS_CHROOT"}
	var data [2]unix.CapUserData
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0]); err != nil {
		return "capabilities"
	}
	var missing []string
	for _, c := range wanted {
		if data[c/32].Effective&(1<<(c%32)) == 0 {
			missing = append(missing, names[c])
		}
	}
	return strings.Join(missing, ", ")
}

func (j Jail) closed() bool { return j.Dir != "" }

// build makes the directory. The worker may go through it and no more.
func (j Jail) build() error {
	if !j.closed() {
		return nil
	}
	if err := os.MkdirAll(j.Dir, 0o711); err != nil {
		return fmt.Errorf("make the directory haproxy is locked up in: %w", err)
	}
	if err := errors.Join(os.Chown(j.Dir, 0, 0), os.Chmod(j.Dir, 0o711)); err != nil { // whatever the umask
		return fmt.Errorf("make the directory haproxy is locked up in: %w", err)
	}
	return nil
}

// write writes the lines of the global section. What was opened before stays
// open, files are read and sockets bound by then; only the log is opened by path.
func (j Jail) write(w *strings.Builder) {
	fmt.Fprintf(w, "  chroot %s\n  uid %d\n  gid %d\n", j.Dir, j.UID, j.GID)
}

// logOf is the path of the log as the worker sees it.
func (p Paths) logOf(want Config) string {
	if p.locksUp(want) {
		return "/" + filepath.Base(p.log())
	}
	return p.log()
}

// jailable says whether all servers are reached by address: a unix socket is
// opened by its path, time and again, and lies outside of the jail, unless it
// is HAProxy's own.
func (c Config) jailable() bool {
	return c.Tier == nil && !slices.ContainsFunc(c.Backends, func(b *Backend) bool {
		return b.Place != BeforeTLS && slices.ContainsFunc(b.Servers, func(s Server) bool { return s.Socket != "" })
	})
}
