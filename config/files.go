package config

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// readFile reads a file once and keeps it for Config.Files.
func (l *loader) readFile(name string) ([]byte, error) {
	if data, ok := l.read[name]; ok {
		return data, nil
	}
	data, err := l.files.ReadFile(name)
	if err == nil && len(data) > MaxFileSize {
		err = errTooLarge
	}
	if l.bytes += len(data); err == nil && l.bytes > maxTotal {
		err = errTooMuch
	}
	if err != nil {
		return nil, plainError(err)
	}
	l.read[name] = data
	return data, nil
}

// plainError drops the path from an error that is shown next to the file's name.
func plainError(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fs.ErrNotExist
	}
	if at := new(fs.PathError); errors.As(err, &at) {
		return at.Err
	}
	return err
}

// asFile reads the content of the file that a `_file` key names. A relative
// name is resolved from the directory of the file that names it and must stay in the
// configuration directory, so that a configuration can be moved, and
// kept in memory, as one piece; what lies elsewhere is named absolutely.
func asFile(v value) ([]byte, bool) {
	resolved, ok := v.fileName()
	if !ok {
		return nil, false
	}
	data, err := v.l.readFile(resolved)
	if err != nil {
		f := v.faultf("cannot read %s: %w", quote(resolved), err)
		if errors.Is(err, fs.ErrNotExist) && !path.IsAbs(v.node.Value) {
			f.Hint = "the path is relative to the file that names it"
		}
		return nil, false
	}
	if len(data) == 0 {
		v.faultf("%s is empty", quote(resolved))
	}
	return data, len(data) > 0
}

// wantedFile is what a name of a file is called in messages.
const wantedFile = "the name of a file"

// fileLater takes the name of a file that is read when more is known.
func fileLater(v value) { v.outlines(form{kind: kText, wanted: wantedFile}) }

// fileName resolves the name of a file or directory.
func (v value) fileName() (string, bool) {
	name, ok := v.text(wantedFile)
	if !ok {
		return "", false
	}
	if name == "" || strings.ContainsRune(name, 0) || !utf8.ValidString(name) {
		v.faultf("%s is not the name of a file", quote(name))
		return "", false
	}
	resolved := path.Clean(name)
	if !path.IsAbs(name) {
		resolved = path.Join(path.Dir(v.file), name)
	}
	if resolved == ".." || strings.HasPrefix(resolved, "../") {
		v.faultf("%s leads out of the configuration directory", quote(name)).Hint = "write an absolute path"
		return "", false
	}
	return resolved, true
}

// listDir lists a directory and keeps its name for Config.Dirs.
func (l *loader) listDir(name string) ([]string, error) {
	if !slices.Contains(l.dirs, name) {
		l.dirs = append(l.dirs, name)
	}
	return l.files.ListDir(name)
}

// asPassword reads a password from a file, without the line end behind it.
// No message shows any of it.
func asPassword(most int, alphabet, described string) reader[Secret] {
	return func(v value) (Secret, bool) {
		data, ok := asFile(v)
		if !ok {
			return "", false
		}
		text := strings.TrimRight(string(data), "\r\n")
		switch {
		case text == "":
			v.faultf("the password in the file is empty")
		case len(text) > most:
			v.faultf("the password in the file has %d characters, %d are possible", len(text), most)
		case strings.ContainsFunc(text, func(r rune) bool { return !strings.ContainsRune(alphabet, r) }):
			v.faultf("the password in the file has a character that is not possible").Hint = "possible are " + described
		default:
			return Secret(text), true
		}
		return "", false
	}
}

const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// asVRRPPassword reads eight characters at most: keepalived sends no more.
func asVRRPPassword(v value) (Secret, bool) {
	const signs = "_.:/=,+*%^&?()<>;-"
	return asPassword(8, alphanumeric+signs, "letters, digits and "+signs)(v)
}

// asOSPFPassword reads a key for OSPF's message digest (RFC 2328, appendix D).
func asOSPFPassword(v value) (Secret, bool) {
	return asPassword(16, alphanumeric+"#$%&*+,-./:;<=>@^_~", "letters, digits and #$%&*+,-./:;<=>@^_~")(v)
}

// asBGPPassword reads a key for RFC 2385, which Linux limits to 80 bytes.
func asBGPPassword(v value) (Secret, bool) {
	const signs = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
	return asPassword(80, alphanumeric+signs, "letters, digits and ASCII signs without spaces")(v)
}
