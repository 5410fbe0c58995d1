package git

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// checkout is one revision on disk; its directory is never changed.
type checkout struct{ commit, dir string }

// store keeps the checkouts of one source:
//
//	<dir>/<commit>/      a whole revision: it is written under another name and renamed
//	<dir>/current        a link to the one in force
//	<dir>/.new-…         what a run that was killed has left
type store struct{ dir string }

const (
	currentName = "current"
	newPrefix   = ".new-"
)

// openStore makes a directory of its own for each source, so that one never
// falls back to a revision of another, and clears away what is not whole.
func openStore(dir string, u URL) (store, error) {
	sum := sha256.Sum256([]byte(u.String()))
	s := store{filepath.Join(dir, hex.EncodeToString(sum[:6]))}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return s, fmt.Errorf("make directory for checkouts: %w", err)
	}
	s.sweep(s.current().commit)
	return s, nil
}

// current gives the checkout that was in force last, if there is one.
func (s store) current() checkout {
	commit, err := os.Readlink(filepath.Join(s.dir, currentName))
	if err != nil || !isCommit(commit) {
		return checkout{}
	}
	dir := filepath.Join(s.dir, commit)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return checkout{}
	}
	return checkout{commit, dir}
}

// keep writes a revision and makes it the current one. Nothing can be seen of
// it before it is whole.
func (s store) keep(ctx context.Context, content snapshot, folder string, limits Limits) (checkout, error) {
	now := checkout{content.hash.String(), filepath.Join(s.dir, content.hash.String())}
	if _, err := os.Stat(now.dir); errors.Is(err, fs.ErrNotExist) {
		if err := s.write(content, folder, limits, now.dir); err != nil {
			return checkout{}, err
		}
	}
	if ctx.Err() != nil {
		return checkout{}, ctx.Err() // too late: this look has been given up
	}
	before := s.current().commit
	link := filepath.Join(s.dir, newPrefix+currentName)
	_ = os.Remove(link)
	if err := os.Symlink(now.commit, link); err != nil {
		return checkout{}, fmt.Errorf("switch checkout: %w", err)
	}
	if err := os.Rename(link, filepath.Join(s.dir, currentName)); err != nil {
		return checkout{}, fmt.Errorf("switch checkout: %w", err)
	}
	if err := syncDir(s.dir); err != nil {
		return checkout{}, err
	}
	s.sweep(now.commit, before) // whoever reads the one before may finish
	return now, nil
}

func (s store) write(content snapshot, folder string, limits Limits, dir string) error {
	parent, err := os.MkdirTemp(s.dir, newPrefix)
	if err != nil {
		return fmt.Errorf("write checkout: %w", err)
	}
	defer os.RemoveAll(parent)
	whole := filepath.Join(parent, "files")
	if err := content.write(folder, whole, limits); err != nil {
		return err
	}
	err = filepath.WalkDir(whole, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		return syncDir(name)
	})
	if err != nil {
		return fmt.Errorf("write checkout: %w", err)
	}
	if err := os.Rename(whole, dir); err != nil {
		return fmt.Errorf("write checkout: %w", err)
	}
	return nil
}

// sweep removes everything but the given revisions and the link.
func (s store) sweep(keep ...string) {
	entries, _ := os.ReadDir(s.dir)
	for _, e := range entries {
		old := isCommit(e.Name())
		for _, commit := range keep {
			old = old && e.Name() != commit
		}
		if old || strings.HasPrefix(e.Name(), newPrefix) {
			_ = os.RemoveAll(filepath.Join(s.dir, e.Name()))
		}
	}
}

// syncDir makes what was done in a directory survive a power cut.
func syncDir(name string) error {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("sync %s: %w", name, err)
	}
	return errors.Join(unix.Fsync(fd), unix.Close(fd))
}
