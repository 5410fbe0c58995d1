package git

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// Limits bound what one revision may cost.
type Limits struct {
	Bytes int64 // received, and written
	Files int   // in the folder
	Depth int   // of folders
}

// DefaultLimits leave room for a fleet many times larger than any we know.
func DefaultLimits() Limits { return Limits{Bytes: 64 << 20, Files: 20_000, Depth: 32} }

// inflated is what may be in memory while a revision is received.
func (l Limits) inflated() int64 { return 4 * l.Bytes }

func (l Limits) tooLarge() error {
	return fmt.Errorf("the repository is too large: more than %d MiB in one revision; keep the configuration in a repository of its own", l.Bytes>>20)
}

// writer puts one folder of a commit on disk.
type writer struct {
	objects storer.EncodedObjectStorer
	root    string
	left    Limits
	limits  Limits
	links   map[string]string // name below root, target
}

// write puts the folder of the snapshot into dir, which must not exist yet.
// Symbolic links must stay inside the folder; submodules are left out.
func (s snapshot) write(folder, dir string, limits Limits) error {
	commit, err := s.commit()
	if err != nil {
		return fmt.Errorf("read commit %s: %w", s.hash, err)
	}
	tree, err := commit.Tree()
	if err == nil && folder != "" {
		tree, err = tree.Tree(folder)
		if errors.Is(err, object.ErrDirectoryNotFound) {
			return fmt.Errorf("commit %s has no folder %q", s.hash, folder)
		}
	}
	if err != nil {
		return fmt.Errorf("read commit %s: %w", s.hash, err)
	}
	w := writer{objects: s.objects, root: dir, left: limits, limits: limits, links: make(map[string]string)}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("write checkout: %w", err)
	}
	if err := w.folder(tree, "", 0); err != nil {
		return err
	}
	return w.writeLinks()
}

func (w *writer) folder(tree *object.Tree, name string, depth int) error {
	if depth > w.limits.Depth {
		return fmt.Errorf("%s: folders are nested more than %d deep", name, w.limits.Depth)
	}
	for _, e := range tree.Entries {
		if !safe(e.Name) {
			return fmt.Errorf("%s holds an entry with the name %q, which no checkout may have", path.Join("/", name), e.Name)
		}
		if w.left.Files--; w.left.Files < 0 {
			return fmt.Errorf("the folder holds more than %d files; name a smaller one with &path=", w.limits.Files)
		}
		if err := w.entry(e, path.Join(name, e.Name), depth); err != nil {
			return err
		}
	}
	return nil
}

// safe is true of names that stay in their folder on every file system.
func safe(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.EqualFold(name, ".git") && !strings.ContainsAny(name, "/\\\x00")
}

func (w *writer) entry(e object.TreeEntry, name string, depth int) error {
	full := filepath.Join(w.root, filepath.FromSlash(name))
	switch e.Mode {
	case filemode.Submodule:
		return nil
	case filemode.Dir:
		below, err := object.GetTree(w.objects, e.Hash)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if err := os.Mkdir(full, 0o700); err != nil {
			return fmt.Errorf("write checkout: %w", err)
		}
		return w.folder(below, name, depth+1)
	case filemode.Symlink:
		target, err := w.read(e.Hash, name, 4096)
		w.links[name] = string(target)
		return err
	case filemode.Regular, filemode.Executable, filemode.Deprecated:
		data, err := w.read(e.Hash, name, w.left.Bytes)
		if err != nil {
			return err
		}
		w.left.Bytes -= int64(len(data))
		return writeSynced(full, data)
	}
	return fmt.Errorf("%s is of an unknown kind, %s", name, e.Mode)
}

func (w *writer) read(hash plumbing.Hash, name string, most int64) ([]byte, error) {
	blob, err := object.GetBlob(w.objects, hash)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if blob.Size > most {
		return nil, w.limits.tooLarge()
	}
	r, err := blob.Reader()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, most))
}

// writeLinks comes last, when nothing is written through a link any more.
func (w *writer) writeLinks() error {
	for name, target := range w.links {
		to := path.Join(path.Dir(name), target)
		if target == "" || path.IsAbs(target) || to == ".." || strings.HasPrefix(to, "../") || strings.ContainsRune(target, 0) {
			return fmt.Errorf("%s is a symbolic link to %q, which leads out of the folder", name, target)
		}
		if err := os.Symlink(target, filepath.Join(w.root, filepath.FromSlash(name))); err != nil {
			return fmt.Errorf("write checkout: %w", err)
		}
	}
	root, err := filepath.EvalSymlinks(w.root)
	if err != nil {
		return fmt.Errorf("write checkout: %w", err)
	}
	for name, target := range w.links { // one link through another may lead out as well
		real, err := filepath.EvalSymlinks(filepath.Join(w.root, filepath.FromSlash(name)))
		if err == nil && real != root && !strings.HasPrefix(real, root+string(filepath.Separator)) {
			return fmt.Errorf("%s is a symbolic link to %q, which leads out of the folder", name, target)
		}
	}
	return nil
}

// writeSynced writes a file that is there after a power cut.
func writeSynced(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write checkout: %w", err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write checkout: %w", err)
	}
	return nil
}
