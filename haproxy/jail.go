package haproxy

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Jail is where a worker lives once it has opened its sockets and files: in a
// directory without anything but the sockets it connects to, as a user without
// rights. The master stays root: it opens what the next worker needs, and tells
// workers of another user to end, for which it needs CAP_KILL. The zero
// value is no jail.
type Jail struct {
	Dir      string // absolute, see [Sockets]
	UID, GID int
}

// Sockets is the directory, within HAProxy's run directory, of the unix sockets
// that a worker connects to time and again. It is the worker's whole world where
// it is locked up; therefore a socket in there lets everybody write, and nobody
// else comes by the run directory.
func Sockets(runDir string) string { return filepath.Join(runDir, "jail") }

// newJail looks whether a worker of a HAProxy that this process starts can be
// locked up as the user of that name. The reason is empty where it can. Of one
// that somebody else starts, only they know what it may do.
func newJail(runDir, name string, attach bool) (j Jail, why string) {
	if name == "" {
		return j, "no user is named"
	}
	if missing := missingCapabilities(unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SYS_CHROOT, unix.CAP_KILL); missing != "" && !attach {
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
	return Jail{Dir: Sockets(runDir), UID: uid, GID: gid}, ""
}

// missingCapabilities names those of the capabilities that this process, and so
// HAProxy, does not have.
func missingCapabilities(wanted ...int) string {
	names := map[int]string{unix.CAP_SETUID: "CAP_SETUID", unix.CAP_SETGID: "CAP_SETGID", unix.CAP_SYS_CHROOT: "CAP_SYS_CHROOT",
		unix.CAP_KILL: "CAP_KILL"}
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

// makeSockets makes [Sockets]. The worker may go through it and no more.
func (p Paths) makeSockets() error {
	dir := Sockets(p.Dir)
	err := errors.Join(os.MkdirAll(p.Dir, 0o750), os.Chmod(p.Dir, 0o750), os.MkdirAll(dir, 0o711), os.Chown(dir, os.Geteuid(), os.Getegid()), os.Chmod(dir, 0o711)) // whatever the umask
	if err != nil {
		return fmt.Errorf("make the directory of haproxy's sockets: %w", err)
	}
	return nil
}

// write writes the lines of the global section. What was opened before stays
// open, files are read and sockets bound by then; only the log is opened by path.
func (j Jail) write(w *strings.Builder) {
	fmt.Fprintf(w, "  chroot %s\n  uid %d\n  gid %d\n", j.Dir, j.UID, j.GID)
}

// socket is the path of a socket in [Sockets].
func (p Paths) socket(name string) string { return filepath.Join(Sockets(p.Dir), name) }

// seen is a path as the worker sees it.
func (p Paths) seen(path string) string {
	if p.Jail.closed() {
		return strings.TrimPrefix(path, p.Jail.Dir)
	}
	return path
}
