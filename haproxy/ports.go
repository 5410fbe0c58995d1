package haproxy

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// TakenError says that a frontend cannot have one of its addresses, mostly
// because another program listens there.
type TakenError struct {
	Frontend string
	Address  netip.AddrPort
	Err      error
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("frontend %s cannot listen on %s: %v", e.Frontend, e.Address, e.Err)
}

// Unwrap gives the kernel's answer.
func (e *TakenError) Unwrap() error { return e.Err }

// Taken names the frontends that err says cannot listen, none when err is of
// another kind. All others could be served by a Set without them.
func Taken(err error) map[string]bool {
	names := make(map[string]bool)
	var walk func(error)
	walk = func(err error) {
		switch e := err.(type) {
		case *TakenError:
			names[e.Frontend] = true
		case interface{ Unwrap() []error }:
			for _, one := range e.Unwrap() {
				walk(one)
			}
		case interface{ Unwrap() error }:
			walk(e.Unwrap())
		}
	}
	walk(err)
	return names
}

// probe finds binds that another program holds. HAProxy would find out only
// in the middle of a reload, with all its listeners paused for two seconds.
// Addresses that has tells are HAProxy's already, and so are those held by the
// processes own, as far as this one may look into them: it may not look into a
// worker without rights, unless it has CAP_SYS_PTRACE.
func probe(want Config, own []int, has bound) error {
	var errs []error
	var held map[string]bool
	for _, f := range append(want.peersListener(), want.listening()...) {
		for address := range f.sockets() {
			if has.covers(address) {
				continue
			}
			err := tryBind(address)
			if err == nil {
				continue
			}
			if errors.Is(err, unix.EADDRINUSE) {
				if held == nil {
					held = sockets(own)
				}
				inodes, exact := listeners(address)
				foreign := func(inode string) bool { return !held[inode] }
				if held[exact] || (len(inodes) > 0 && !slices.ContainsFunc(inodes, foreign)) {
					continue
				}
				err = fmt.Errorf("%w%s", err, holder(inodes, held))
			}
			errs = append(errs, &TakenError{Frontend: f.Name, Address: address, Err: err})
		}
	}
	return errors.Join(errs...)
}

// sockets are the addresses that a frontend listens on, each port of a range.
func (f Frontend) sockets() iter.Seq[netip.AddrPort] {
	return func(yield func(netip.AddrPort) bool) {
		if f.Inside { // the frontend before it does
			return
		}
		for _, b := range f.Binds {
			for port := int(b.Port); port <= int(max(b.Port, f.LastPort)); port++ {
				if !yield(netip.AddrPortFrom(b.Address, uint16(port))) {
					return
				}
			}
		}
	}
}

// bound are ranges of ports, by address.
type bound map[netip.Addr][][2]uint16

// boundBy reads where a HAProxy listens that was started with this structure.
func boundBy(structure string) bound {
	b := make(bound)
	for line := range strings.Lines(structure) {
		rest, isBind := strings.CutPrefix(line, "  bind ")
		word, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		colon := strings.LastIndexByte(word, ':')
		if !isBind || colon < 0 {
			continue
		}
		first, last, isRange := strings.Cut(word[colon+1:], "-")
		if !isRange {
			last = first
		}
		from, err1 := netip.ParseAddrPort(word[:colon+1] + first)
		to, err2 := netip.ParseAddrPort(word[:colon+1] + last)
		if err1 == nil && err2 == nil {
			b[from.Addr()] = append(b[from.Addr()], [2]uint16{from.Port(), to.Port()})
		}
	}
	return b
}

func (b bound) covers(a netip.AddrPort) bool {
	return slices.ContainsFunc(b[a.Addr()], func(r [2]uint16) bool { return r[0] <= a.Port() && a.Port() <= r[1] })
}

// tryBind binds without listening, so that no client ever notices. The
// address need not be on this node.
func tryBind(address netip.AddrPort) error {
	family := unix.AF_INET
	var sa unix.Sockaddr
	if address.Addr().Is6() {
		family, sa = unix.AF_INET6, &unix.SockaddrInet6{Port: int(address.Port()), Addr: address.Addr().As16()}
	} else {
		sa = &unix.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// A refused option shows in the bind.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1)
	if family == unix.AF_INET6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	return unix.Bind(fd, sa)
}

// listeners are the inodes of the TCP sockets that listen where address would,
// and the one of them that listens exactly there.
func listeners(address netip.AddrPort) (inodes []string, exact string) {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		data, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			fields := strings.Fields(line)
			const listen = "0A"
			if len(fields) < 10 || fields[3] != listen {
				continue
			}
			local, ok := procAddress(fields[1])
			if !ok || local.Port() != address.Port() {
				continue
			}
			if local == address {
				exact = fields[9]
			}
			if local == address || local.Addr().IsUnspecified() || address.Addr().IsUnspecified() {
				inodes = append(inodes, fields[9])
			}
		}
	}
	return inodes, exact
}

// procAddress reads "0100007F:0050": words in the machine's byte order, then
// the port.
func procAddress(s string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(s, ":")
	raw, err := hex.DecodeString(host)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || err2 != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.BigEndian.PutUint32(raw[i:], binary.NativeEndian.Uint32(raw[i:]))
	}
	addr, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr, uint16(n)), ok
}

// sockets are the socket inodes that the processes have open.
func sockets(pids []int) map[string]bool {
	inodes := make(map[string]bool)
	for _, pid := range pids {
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, link := range links {
			target, err := os.Readlink(link)
			if inode, ok := strings.CutPrefix(target, "socket:["); err == nil && ok {
				inodes[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	return inodes
}

// holder names the program behind the first of the sockets that is not held by
// ourselves, as far as /proc tells.
func holder(inodes []string, held map[string]bool) string {
	stats, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, path := range stats {
		pid, err := strconv.Atoi(strings.Split(path, "/")[2])
		if err != nil {
			continue
		}
		open := sockets([]int{pid})
		for _, inode := range inodes {
			if open[inode] && !held[inode] {
				name, _ := os.ReadFile(path)
				return fmt.Sprintf(": %s (pid %d) listens there", strings.TrimSpace(string(name)), pid)
			}
		}
	}
	return ""
}

// children are the child processes of pid, old and new workers of a master.
func children(pid int) []int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var pids []int
	for field := range strings.FieldsSeq(string(data)) {
		if n, err := strconv.Atoi(field); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}
