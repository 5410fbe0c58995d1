package config

import (
	"os"
	"path/filepath"
)

// Files is where a configuration is read from. ReadFile takes names as List
// gives them, or the resolved name of a file that a `_file` key points at
// (relative to the root, or absolute).
type Files interface {
	List() ([]string, error) // configuration files, sorted, relative to the root
	ReadFile(name string) ([]byte, error)
}

// Tree is a configuration held in memory: file name to content.
type Tree map[string][]byte

// Dir reads a configuration from a directory.
type Dir string

// ReadFile reads a file below the directory, or an absolute one.
func (d Dir) ReadFile(name string) ([]byte, error) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(string(d), name)
	}
	return os.ReadFile(name)
}
