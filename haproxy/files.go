package haproxy

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/vipilot/vipilot/render"
)

// loadedFile remembers the structure that the running HAProxy was started or
// reloaded with. The next controller compares it, not haproxy.cfg: one that
// died between writing and reloading left a file HAProxy never read.
const loadedFile = "loaded"

// besides are the files besides the main one.
var besides = []string{"maps/*.map", "pages/*.html", "certs/*.pem", "certs/*.ocsp", "certs/*.ca", "certs/*.list"}

// files are the files in the run directory. They follow runtime updates a
// moment later, off the path of the update; an update lost in that moment by
// a kill -9 is made good at adoption, which asks HAProxy itself.
type files struct {
	paths Paths
	dirty atomic.Pointer[Config] // runs already, is not yet written
	mu    sync.Mutex             // held while files are written
}

// save has the files follow want: at once, or through Run where it is active.
func (h *HAProxy) save(want Config) {
	h.files.dirty.Store(&want)
	if h.active.Load() {
		signal(h.unsaved)
		return
	}
	h.flush()
}

// flush writes what is not yet written.
func (h *HAProxy) flush() {
	h.files.mu.Lock()
	defer h.files.mu.Unlock()
	if err := h.files.flush(); err != nil {
		h.log.Error("haproxy files are behind", "err", err)
	}
}

func (f *files) flush() error {
	want := f.dirty.Swap(nil)
	if want == nil {
		return nil
	}
	rendered, err := Render(*want, f.paths)
	if err == nil {
		err = f.write(f.paths.Dir, rendered)
	}
	if err == nil {
		err = f.remember(rendered)
	}
	return err
}

// write makes dir hold exactly these files, each in one step, the main file last.
func (f *files) write(dir string, rendered Files) error {
	for _, name := range rendered.names() {
		if _, err := render.WriteFile(filepath.Join(dir, name), rendered[name], 0o600); err != nil {
			return err
		}
	}
	for _, pattern := range besides {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return fmt.Errorf("write haproxy files: %w", err)
		}
		for _, path := range found {
			name := strings.TrimPrefix(path, dir+"/")
			if _, ok := rendered[name]; !ok {
				if err := os.Remove(path); err != nil {
					return fmt.Errorf("remove stale file: %w", err)
				}
			}
		}
	}
	return nil
}

// read is what write wrote last.
func (f *files) read() (Files, error) {
	found := Files{}
	for _, pattern := range append([]string{ConfigFile}, besides...) {
		paths, err := filepath.Glob(filepath.Join(f.paths.Dir, pattern))
		if err != nil {
			return nil, fmt.Errorf("read haproxy files: %w", err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("read haproxy files: %w", err)
			}
			found[strings.TrimPrefix(path, f.paths.Dir+"/")] = data
		}
	}
	return found, nil
}

// remember notes that HAProxy runs with the structure of these files.
func (f *files) remember(rendered Files) error {
	_, err := render.WriteFile(filepath.Join(f.paths.Dir, loadedFile), []byte(loaded(rendered)), 0o600)
	return err
}

// loaded is everything about rendered files that only a reload can change,
// with certificates by their hash.
func loaded(rendered Files) string {
	var b strings.Builder
	b.WriteString(structure(rendered[ConfigFile]))
	for _, name := range rendered.names() {
		if strings.HasPrefix(name, "certs/") {
			fmt.Fprintf(&b, "# %s %x\n", name, sha256.Sum256(rendered[name]))
		}
	}
	return b.String()
}

// runs is the structure that the running HAProxy was started or reloaded with,
// "" when that is not known.
func (f *files) runs() string {
	data, _ := os.ReadFile(filepath.Join(f.paths.Dir, loadedFile))
	return string(data)
}

// differs says how the running structure differs from the rendered one, "" if
// it does not.
func (f *files) differs(rendered Files) (string, error) {
	runs, err := os.ReadFile(filepath.Join(f.paths.Dir, loadedFile))
	if errors.Is(err, os.ErrNotExist) {
		return "nothing is known of the structure that runs", nil
	}
	if err != nil {
		return "", fmt.Errorf("compare haproxy's structure: %w", err)
	}
	want := strings.Split(loaded(rendered), "\n")
	for i, line := range strings.Split(string(runs), "\n") {
		if i >= len(want) || want[i] != line {
			return fmt.Sprintf("what runs has %q at line %d, wanted is another structure", strings.TrimSpace(line), i+1), nil
		}
		if i == len(want)-1 {
			break
		}
	}
	if len(want) != strings.Count(string(runs), "\n")+1 {
		return "what runs lacks a part of the wanted structure", nil
	}
	return "", nil
}
