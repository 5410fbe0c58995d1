package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// MaxFileSize is the most that one file may hold, configuration or referenced.
const MaxFileSize = 4 << 20

// Bounds of a directory: how deep it may be nested, how much may lie in it, and
// how many bytes all files that are read may have. Links can make much of little.
const (
	maxDepth   = 16
	maxEntries = 50_000
	maxTotal   = 256 << 20
)

// Files is where a configuration is read from. ReadFile takes names as List
// gives them, or the resolved name of a file that a `_file` key points at
// (relative to the root, or absolute).
type Files interface {
	List() ([]string, error) // configuration files, sorted, relative to the root
	ReadFile(name string) ([]byte, error)
	// ListDir gives the names of the files in the directory that a `_dir` key
	// points at, sorted, as ReadFile takes them. Hidden files are skipped.
	ListDir(name string) ([]string, error)
}

// Tree is a configuration held in memory: file name to content.
type Tree map[string][]byte

// List gives the names of the configuration files. Absolute names, hidden
// files and files of other kinds are there only to be referenced.
func (t Tree) List() ([]string, error) {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(t)), func(name string) bool {
		return path.IsAbs(name) || !isYAML(name) || slices.ContainsFunc(strings.Split(name, "/"), isHidden)
	})
	return names, nil
}

// ReadFile gives a file's content; the caller does not change it.
func (t Tree) ReadFile(name string) ([]byte, error) {
	data, ok := t[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return data, nil
}

// ListDir gives the files that are held below the name, directly.
func (t Tree) ListDir(name string) ([]string, error) {
	var names []string
	for file := range t {
		if path.Dir(file) == name && !isHidden(path.Base(file)) {
			names = append(names, file)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Dir reads a configuration from a directory.
type Dir string

// List gives the configuration files below the directory. Hidden files and
// directories are skipped; symbolic links are followed, as Kubernetes mounts
// a ConfigMap as links through a hidden directory.
func (d Dir) List() ([]string, error) {
	var names []string
	err := walk(string(d), func(name string, info fs.FileInfo) {
		if !info.IsDir() && isYAML(name) {
			names = append(names, name)
		}
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

// ReadFile reads a regular file below the directory, or an absolute one. It
// refuses a file of more than MaxFileSize.
func (d Dir) ReadFile(name string) ([]byte, error) {
	full := name
	if !filepath.IsAbs(name) {
		full = filepath.Join(string(d), name)
	}
	info, err := os.Stat(full) // before opening: to open a FIFO would wait for its writer
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: full, Err: fmt.Errorf("not a regular file")}
	}
	file, err := os.Open(full)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, MaxFileSize+1))
	if err == nil && len(data) > MaxFileSize {
		err = &fs.PathError{Op: "read", Path: full, Err: errTooLarge}
	}
	return data, err
}

// ListDir lists a directory below the directory, or an absolute one.
func (d Dir) ListDir(name string) ([]string, error) {
	full := name
	if !filepath.IsAbs(name) {
		full = filepath.Join(string(d), name)
	}
	entries, err := os.ReadDir(full)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		info, err := os.Stat(filepath.Join(full, entry.Name())) // a link counts as what it leads to
		if !isHidden(entry.Name()) && err == nil && info.Mode().IsRegular() {
			names = append(names, path.Join(name, entry.Name()))
		}
	}
	return names, nil
}

var (
	errTooLarge = fmt.Errorf("larger than %d MiB", MaxFileSize>>20)
	errTooMuch  = fmt.Errorf("the files hold more than %d MiB together", maxTotal>>20)
)

// walk visits every directory and regular file below root that is not hidden,
// by its slash-separated name relative to root. Links are followed, unless they lead
// back to a directory they are in.
func walk(root string, visit func(name string, info fs.FileInfo)) error {
	info, err := os.Stat(root)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "list", Path: root, Err: fmt.Errorf("not a directory")}
	}
	left := maxEntries
	return walkBelow(root, "", []fs.FileInfo{info}, &left, visit)
}

func walkBelow(root, dir string, above []fs.FileInfo, left *int, visit func(string, fs.FileInfo)) error {
	visit(dir, above[len(above)-1])
	entries, err := os.ReadDir(filepath.Join(root, dir))
	if err != nil {
		return err
	}
	if *left -= len(entries); *left < 0 {
		return &fs.PathError{Op: "list", Path: root, Err: fmt.Errorf("there are more than %d files and directories below it; does a link lead to something else?", maxEntries)}
	}
	for _, entry := range entries {
		if isHidden(entry.Name()) {
			continue
		}
		name := path.Join(dir, entry.Name())
		info, err := os.Stat(filepath.Join(root, name))
		switch {
		case err != nil:
			gone := errors.Is(err, fs.ErrNotExist) && entry.Type()&fs.ModeSymlink == 0
			if isYAML(name) && !gone {
				return err // a link to nothing must not pass for a file that was removed
			}
		case info.Mode().IsRegular():
			visit(name, info)
		case info.IsDir() && len(above) < maxDepth && !slices.ContainsFunc(above, func(a fs.FileInfo) bool { return os.SameFile(a, info) }):
			if err := walkBelow(root, name, append(slices.Clip(above), info), left, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

func isHidden(name string) bool { return strings.HasPrefix(name, ".") }

func isYAML(name string) bool { return path.Ext(name) == ".yaml" || path.Ext(name) == ".yml" }
