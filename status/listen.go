package status

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxSocketPath is what the kernel takes (sun_path less its zero byte), less
// the suffix of the name a socket is born under.
const maxSocketPath = 107 - len(newSuffix)

const newSuffix = ".new"

// Listen opens the listener for addr: "127.0.0.1:9890", which holds a bounded
// number of connections, or "unix:/path" with mode 0600. A socket that nobody
// answers on is replaced. The error names the address.
func Listen(addr string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		l, err := listenUnix(path)
		if err != nil {
			return nil, fmt.Errorf("listen on unix:%s: %w", path, err)
		}
		return l, nil
	}
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen on %s: another process has this address", addr)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return newThrong(l), nil
}

// listenUnix makes the socket under another name and moves it into place once
// its mode is right, so nobody ever sees it open to others.
func listenUnix(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path has %d bytes, a socket's may have %d; choose a shorter one", len(path), maxSocketPath)
	}
	if err := ensureDead(path); err != nil {
		return nil, err
	}
	born := path + newSuffix
	if err := ensureDead(born); err != nil {
		return nil, err
	}
	if err := os.Remove(born); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: born, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(born, 0o600), os.Rename(born, path)); err != nil {
		l.Close()
		os.Remove(born)
		return nil, err
	}
	return &unixListener{UnixListener: l, path: path}, nil
}

// ensureDead refuses a path that holds something else than a dead socket.
func ensureDead(path string) error {
	stat, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if stat.Mode().Type() != fs.ModeSocket {
		return errors.New("a file that is not a socket is in the way; remove it or choose another path")
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
		return errors.New("another process answers there; is a controller with the same run directory running?")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("see whether its socket is in use: %w", err)
	}
	return nil
}

// unixListener removes its file before it stops listening, so that it never
// removes a successor's.
type unixListener struct {
	*net.UnixListener
	path string
	once sync.Once
}

func (l *unixListener) Close() error {
	l.once.Do(func() { os.Remove(l.path) })
	return l.UnixListener.Close()
}
