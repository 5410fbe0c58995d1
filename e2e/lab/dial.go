package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Dial connects over TCP from the host to an IP address and port. Only the
// socket is made on the host's thread; the wait for the answer blocks nobody.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return h.dialMarked(ctx, network, address, 0)
}

// dialMarked is Dial with a mark on every packet, by which the host's routing
// rules may choose another way.
func (h *Host) dialMarked(ctx context.Context, network, address string, mark int) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial from %s: %w", h.Name, err)
	}
	file, err := h.connect(to, mark)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	stop := context.AfterFunc(ctx, func() { _ = file.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := connected(file); err != nil {
		return fail(err)
	}
	conn, err := net.FileConn(file)
	if err != nil {
		return fail(err)
	}
	return conn, nil
}

// connect makes a socket inside the host's network and begins to connect it.
func (h *Host) connect(to netip.AddrPort, mark int) (*os.File, error) {
	family, sockaddr := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
	if to.Addr().Is4() {
		family, sockaddr = unix.AF_INET, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	fd := -1
	err := h.Do(func() (err error) {
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("dial from %s: %w", h.Name, err)
	}
	if mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, mark); err != nil {
			_ = unix.Close(fd)
			return nil, fmt.Errorf("dial from %s: mark packets: %w", h.Name, err)
		}
	}
	if err := unix.Connect(fd, sockaddr); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		_ = unix.Close(fd)
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: os.NewSyscallError("connect", err)}
	}
	return os.NewFile(uintptr(fd), to.String()), nil
}

// connected waits for the outcome of a connect that is under way.
func connected(file *os.File) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var refused error
	err = raw.Write(func(fd uintptr) bool {
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			refused = os.NewSyscallError("connect", unix.Errno(code))
			return true
		}
		_, err = unix.Getpeername(int(fd))
		return err == nil // not connected yet: wait until it is writable
	})
	return cmp.Or(err, refused)
}

// HTTPClient is a client whose connections start on the host. Requests take at
// most timeout. Names are not resolved: the URL holds an address, and
// Request.Host the name.
func (h *Host) HTTPClient(timeout time.Duration, keepAlive bool) *http.Client {
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext:         h.Dial,
			DisableKeepAlives:   !keepAlive,
			MaxIdleConnsPerHost: maxInFlight,
			IdleConnTimeout:     30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
