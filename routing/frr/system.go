package frr

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vipilot/vipilot/internal/supervise"
	"github.com/vipilot/vipilot/routing"
)

// systemDir is where a system's FRR has its vty sockets.
const systemDir = "/var/run/frr"

// programs are the directories that distributions keep the daemons in.
var programs = []string{"/usr/lib/frr", "/usr/libexec/frr", "/usr/local/sbin", "/usr/sbin"}

// program finds one of FRR's daemons.
func program(name string) (path string, ok bool) {
	for _, place := range programs {
		path = filepath.Join(place, name)
		if _, err := os.Stat(path); err == nil {
			return path, true
		}
	}
	return "", false
}

// spec says how one of our own daemons is started: nothing of the system's
// configuration is read, nothing listens on TCP, and no BGP port is taken.
func (s *Speaker) spec(name, record string) (supervise.Spec, error) {
	dir := s.opts.RunDir
	path, ok := program(name)
	if !ok {
		return supervise.Spec{}, fmt.Errorf("start %s: FRR is not installed (looked in %v)", name, programs)
	}
	spec := supervise.Spec{Path: path, Record: record, Log: filepath.Join(dir, name+".log"), Dir: "/", Args: []string{
		"-z", filepath.Join(dir, "zserv.api"), "--vty_socket", dir, "-i", filepath.Join(dir, name+".pid"),
		"-P", "0", "--log", "stdout", "--log-level", "warnings",
	}}
	if name != "mgmtd" { // which knows no such option
		spec.Args = append(spec.Args, "-f", filepath.Join(dir, "empty.conf"))
	}
	if s.hasMgmtd() {
		spec.Args = append(spec.Args, "-N", s.space())
	}
	switch name {
	case "bgpd":
		spec.Args = append(spec.Args, "-p", "0")
	case "bfdd": // FRR 10 has no such socket any more
		if help, _ := exec.Command(spec.Path, "--help").CombinedOutput(); strings.Contains(string(help), "--bfdctl") {
			spec.Args = append(spec.Args, "--bfdctl", filepath.Join(dir, "bfdd.sock"))
		}
	}
	return spec, nil
}

// lastWords is the end of a daemon's log, for people.
func (s *Speaker) lastWords(name string) string {
	data, err := os.ReadFile(filepath.Join(s.opts.RunDir, name+".log"))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(data[max(0, len(data)-2000):])), "\n")
	return lines[len(lines)-1]
}

// prepareDir makes the run directory. Our own daemons drop to FRR's user, who
// needs to make sockets in it.
func (s *Speaker) prepareDir(want routing.Config) error {
	dir := s.opts.RunDir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if want.FRR.Attach || !want.NeedsFRR() {
		return nil
	}
	frr, err := user.Lookup("frr")
	if err != nil {
		return fmt.Errorf("find FRR's user: %w; is FRR installed?", err)
	}
	uid, errUID := strconv.Atoi(frr.Uid)
	gid, errGID := strconv.Atoi(frr.Gid)
	if err := errors.Join(errUID, errGID, os.Chown(dir, uid, gid)); err != nil {
		return err
	}
	for parent := filepath.Dir(dir); ; parent = filepath.Dir(parent) {
		if info, err := os.Stat(parent); err == nil && info.Mode()&0o001 == 0 {
			return fmt.Errorf("FRR's user frr cannot enter %s (mode %s); chmod o+x it, or choose another --run-dir", parent, info.Mode())
		}
		if parent == "/" || parent == "." {
			break
		}
	}
	if s.hasMgmtd() {
		rooms := s.rooms()
		if err := os.MkdirAll(rooms[0], 0o755); err != nil {
			return fmt.Errorf("make a place for FRR's sockets: %w", err)
		}
		if err := os.Chown(rooms[0], uid, gid); err != nil {
			return err
		}
	}
	empty := filepath.Join(dir, "empty.conf")
	if _, err := os.Stat(empty); errors.Is(err, fs.ErrNotExist) {
		return os.WriteFile(empty, nil, 0o644)
	}
	return nil
}

// ownAddress is the node's own IPv4 address on an interface: the first that is
// no host route's, since those are VIPs. Invalid when there is none.
func ownAddress(name string) netip.Addr {
	for _, p := range addressesOn(name) {
		if p.Addr().Is4() && p.Bits() < 32 {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

func onInterface(name string, a netip.Addr) bool {
	for _, p := range addressesOn(name) {
		if p.Addr() == a {
			return true
		}
	}
	return false
}

func addressesOn(name string) (list []netip.Prefix) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil
	}
	addresses, err := link.Addrs()
	if err != nil {
		return nil
	}
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, p)
		}
	}
	return list
}
