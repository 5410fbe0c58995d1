package vrrp

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// pipeSize is what a Linux pipe holds; one read takes all that waits.
const pipeSize = 64 << 10

// notice is one line of keepalived's notify FIFO about an instance.
type notice struct {
	Instance string
	Role     Role // "" when the line says nothing about the role
}

// parseNotice reads one line, without its end:
//
//	INSTANCE "public" MASTER 150
//
// Lines about groups, priorities and adverts give a notice without a role. An
// instance that stops or is deleted takes no part any more, which is [Fault].
func parseNotice(line string) (notice, error) {
	kind, rest, _ := strings.Cut(line, " ")
	if kind == "GROUP" {
		return notice{}, nil
	}
	name, rest, quoted := strings.Cut(strings.TrimPrefix(rest, `"`), `" `)
	state, priority, _ := strings.Cut(rest, " ")
	if kind != "INSTANCE" || !quoted || !namePattern.MatchString(name) || strings.Trim(priority, "0123456789") != "" {
		return notice{}, fmt.Errorf("read role: unexpected line %.100q from keepalived", line)
	}
	switch state {
	case "MASTER":
		return notice{name, Master}, nil
	case "BACKUP":
		return notice{name, Backup}, nil
	case "FAULT", "STOP", "DELETED":
		return notice{name, Fault}, nil
	case "MASTER_PRIORITY", "BACKUP_PRIORITY", "MASTER_RX_LOWER_PRI":
		return notice{}, nil
	}
	return notice{}, fmt.Errorf("read role: unknown state %.100q of instance %q", state, name)
}

// parseNotices reads what came from the FIFO in one piece and keeps the last
// role of each instance, in order of arrival. rest is the beginning of a line
// whose end has not come yet.
func parseNotices(text string) (latest []notice, rest string, err error) {
	var faults []error
	index := map[string]int{}
	for {
		line, after, whole := strings.Cut(text, "\n")
		if !whole {
			break
		}
		text = after
		n, err := parseNotice(line)
		switch {
		case err != nil:
			faults = append(faults, err)
		case n.Role == "":
		default:
			if at, ok := index[n.Instance]; ok {
				latest[at].Role = n.Role
				continue
			}
			index[n.Instance] = len(latest)
			latest = append(latest, n)
		}
	}
	if len(text) > pipeSize {
		return latest, "", errors.Join(append(faults, errors.New("read role: a line without end from keepalived"))...)
	}
	return latest, text, errors.Join(faults...)
}

// ensureFIFO makes the pipe that keepalived reports into. One that is there
// stays: the lines in it are news.
func ensureFIFO(path string) error {
	info, err := os.Lstat(path)
	if err == nil && info.Mode().Type() == os.ModeNamedPipe {
		return os.Chmod(path, 0o600)
	}
	if err == nil {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("make notify pipe: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make notify pipe: %w", err)
	}
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return fmt.Errorf("make notify pipe %s: %w", path, err)
	}
	return nil
}

// openFIFO opens the pipe for reading and writing: so neither the open waits
// for keepalived nor does a read end when keepalived restarts.
func openFIFO(path string) (*os.File, error) {
	if err := ensureFIFO(path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open notify pipe: %w", err)
	}
	return f, nil
}
