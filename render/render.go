// Package render turns values into the files of daemons: strict execution of
// the templates, and atomic writing that says whether anything changed. It
// knows no daemon.
package render

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/template"

	"github.com/vipilot/vipilot/templates"
)

// Execute fills the named template of package templates. A key that the data
// does not have is an error, never an empty word.
func Execute(name string, data any) ([]byte, error) {
	t, err := template.New(name).Option("missingkey=error").ParseFS(templates.FS, name)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// WriteFile gives the file at path the content data, in one step: a reader
// sees the old content or the new, never a part. It reports whether the
// content differed. Directories are made.
func WriteFile(path string, data []byte, perm os.FileMode) (changed bool, err error) {
	old, err := os.ReadFile(path)
	if err == nil && bytes.Equal(old, data) {
		return false, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("write %s: %w", path, err)
	}
	err = StreamFile(path, perm, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	return err == nil, err
}

// StreamFile gives the file at path the content that write writes, in one
// step, as [WriteFile] does; after an error the file is what it was.
func StreamFile(path string, perm os.FileMode, write func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(tmp.Name()) // fails, rightly, once renamed
	buffered := bufio.NewWriter(tmp)
	err = write(buffered)
	err = errors.Join(err, buffered.Flush(), tmp.Chmod(perm), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
