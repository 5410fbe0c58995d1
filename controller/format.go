package controller

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vipilot/vipilot/render"
)

// runFormat is the version of the run directory as a whole: its files belong
// to one set of running daemons and are understood together or not at all. It
// grows when a program of before could no longer take those daemons over.
const runFormat = 1

const formatFile = "format.json"

// format is format.json of the run directory.
type format struct {
	Version int    `json:"version"`
	Program string `json:"program"` // the vipilot that used the directory last, for people
}

// takeRunDir makes sure that this program understands what runs in the
// directory, and says so to the next. A directory without a format is of
// before there were any, and is understood.
func takeRunDir(dir, program string) error {
	file := filepath.Join(dir, formatFile)
	data, err := os.ReadFile(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return fmt.Errorf("read the format of the run directory: %w", err)
	default:
		var f format
		if err := json.Unmarshal(data, &f); err != nil || f.Version < 1 {
			return fmt.Errorf("%s does not say which format the run directory has (%.80q); if nothing of vipilot runs on this node, remove the directory", file, data)
		}
		if f.Version > runFormat {
			return fmt.Errorf("run directory %s has format %d, of vipilot %.40q, and this program knows formats up to %d: "+
				"start that version again and end it with SIGTERM and --on-exit drain, which ends its daemons, before this one takes over",
				dir, f.Version, f.Program, runFormat)
		}
	}
	if data, err = json.Marshal(format{runFormat, program}); err != nil {
		return err
	}
	_, err = render.WriteFile(file, append(data, '\n'), 0o644)
	return err
}

// leaveRunDir says that nothing runs in the directory any more, so that any
// version may take it.
func leaveRunDir(dir string) error {
	if err := os.Remove(filepath.Join(dir, formatFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("leave the run directory: %w", err)
	}
	return nil
}
