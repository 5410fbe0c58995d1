package sentinel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vipilot/vipilot/routing/remote"
)

const (
	maxWant   = 16 << 20 // bytes of JSON; 10,000 prefixes take 1 MB
	maxPID    = 1 << 22  // the kernel's own limit
	maxSocket = 107      // sun_path
)

// decodeWant reads and checks a Want. Unknown fields are ignored: the
// controller may be newer than this process, which is not restarted with it.
// A newer version is refused, and what was wanted before stays in force.
func decodeWant(data []byte) (want remote.Want, err error) {
	if err := json.Unmarshal(data, &want); err != nil {
		return remote.Want{}, fmt.Errorf("read want: %w", err)
	}
	if err := checkWant(want); err != nil {
		return remote.Want{}, fmt.Errorf("refuse want: %w", err)
	}
	return want, nil
}

func checkWant(w remote.Want) error {
	if w.Version < 0 || w.Version > remote.WantVersion {
		return fmt.Errorf("version: %d, and this sentinel knows orders up to version %d; drain the node and start vipilot on it again, so that the sentinel is replaced too", w.Version, remote.WantVersion)
	}
	var faults []error
	if w.Gate.PID < 0 || w.Gate.PID > maxPID {
		faults = append(faults, fmt.Errorf("gate.pid: %d is not a process id", w.Gate.PID))
	}
	if w.Gate.PID > 0 && w.Gate.StartTime == 0 {
		faults = append(faults, fmt.Errorf("gate.start_time: is missing; a bare pid %d may be anybody", w.Gate.PID))
	}
	if !isPath(w.Gate.Socket) || len(w.Gate.Socket) > maxSocket {
		faults = append(faults, fmt.Errorf("gate.socket: %q is not an absolute path of up to %d bytes", w.Gate.Socket, maxSocket))
	}
	if !isPath(w.TrackFile) {
		faults = append(faults, fmt.Errorf("track_file: %q is not an absolute path", w.TrackFile))
	}
	if !isPath(w.SpeakerTrackFile) {
		faults = append(faults, fmt.Errorf("speaker_track_file: %q is not an absolute path", w.SpeakerTrackFile))
	}
	return errors.Join(append(faults, w.Routing.Validate())...)
}

// isPath: empty, or absolute and clean.
func isPath(p string) bool {
	return p == "" || filepath.IsAbs(p) && filepath.Clean(p) == p && !strings.ContainsRune(p, 0)
}

// sameWant compares what would be written.
func sameWant(a, b remote.Want) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// loadWant reads what an earlier sentinel was told. None is not an error.
func loadWant(file string) (want remote.Want, found bool, err error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return remote.Want{}, false, nil
	}
	if err == nil {
		want, err = decodeWant(data)
	}
	if err != nil {
		return remote.Want{}, false, fmt.Errorf("load %s: %w", file, err)
	}
	return want, true, nil
}

// saveWant writes file whole or not at all, readable by its owner only.
func saveWant(file string, want remote.Want) error {
	data, err := json.Marshal(want)
	if err != nil {
		return fmt.Errorf("save want: %w", err)
	}
	tmp := file + ".tmp"
	_ = os.Remove(tmp) // it might have other permissions
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return fmt.Errorf("save want: %w", err)
	}
	if err := os.Rename(tmp, file); err != nil {
		return fmt.Errorf("save want: %w", err)
	}
	return nil
}
