package git

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"
)

// URL is a Git source as a user names it:
//
//	git+https://git.example.net/fleet.git?ref=main&path=sites/berlin
//	git+ssh://git@git.example.net/fleet.git?ref=v1.4&allowed_signers=/etc/vipilot/signers
//	git+file:///srv/fleet.git
type URL struct {
	Scheme  string // https, ssh or file
	User    string // https: the user the token belongs to; ssh: whom to log in as
	Host    string // host[:port]; empty for file
	Path    string // of the repository
	Ref     string // branch, tag, full reference or 40-digit commit; "" = the server's HEAD
	Folder  string // slash-separated folder that holds the configuration; "" = the root
	Signers string // file of allowed signers; "" = commits are not verified
}

// IsURL reports whether a SOURCE is meant for this package.
func IsURL(source string) bool { return strings.HasPrefix(source, "git+") }

// Parse reads a Git source. No message repeats a password.
func Parse(source string) (URL, error) {
	u, err := url.Parse(strings.TrimPrefix(source, "git+"))
	if err != nil {
		return URL{}, errors.New("the Git URL cannot be read; write git+https://host/repository.git?ref=main&path=folder")
	}
	if _, has := u.User.Password(); has {
		u.User = url.User(u.User.Username())
		return URL{}, fmt.Errorf("%s holds a password, and a command line is no place for one; leave it out and use --git-token-file or --git-key-file", shown(u))
	}
	g := URL{Scheme: u.Scheme, User: u.User.Username(), Host: u.Host, Path: u.Path}
	if err := g.check(u); err != nil {
		return URL{}, fmt.Errorf("%s %w", shown(u), err)
	}
	return g, g.query(u)
}

// shown is a URL without its query, as messages name it.
func shown(u *url.URL) string {
	bare := *u
	bare.RawQuery, bare.Fragment = "", ""
	return "git+" + bare.String()
}

func (g URL) check(u *url.URL) error {
	switch {
	case u.Opaque != "" || u.Fragment != "":
		return errors.New("is not a Git URL; write git+https://host/repository.git?ref=main&path=folder")
	case g.Scheme == "http":
		return errors.New("would carry token and configuration in the clear; use git+https")
	case g.Scheme != "https" && g.Scheme != "ssh" && g.Scheme != "file":
		return errors.New("begins with none of git+https://, git+ssh:// and git+file://")
	case g.Scheme == "file" && (u.Host != "" || !path.IsAbs(g.Path)):
		return errors.New("has a host; write git+file:///absolute/path")
	case g.Scheme != "file" && u.Hostname() == "":
		return errors.New("has no host")
	case strings.HasPrefix(u.Hostname(), "-") || strings.HasPrefix(g.User, "-"):
		return errors.New("has a host or user that begins with a dash")
	case strings.Trim(g.Path, "/") == "":
		return errors.New("names no repository")
	}
	return nil
}

// query reads ref, path and allowed_signers.
func (g *URL) query(u *url.URL) error {
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return fmt.Errorf("%s: what follows the question mark cannot be read: %w", shown(u), err)
	}
	for key, given := range values {
		if len(given) > 1 {
			return fmt.Errorf("%s: %q is given twice", shown(u), key)
		}
		text := given[0]
		switch key {
		case "ref":
			if g.Ref = text; !refOK(text) {
				return fmt.Errorf("%s: ref %q is not the name of a branch or tag, nor a commit", shown(u), text)
			}
		case "path":
			clean := strings.Trim(path.Clean(text), "/")
			if strings.HasPrefix(clean+"/", "../") || strings.ContainsRune(text, 0) {
				return fmt.Errorf("%s: path %q leads out of the repository", shown(u), text)
			}
			if g.Folder = clean; clean == "." {
				g.Folder = ""
			}
		case "allowed_signers":
			if text == "" {
				return fmt.Errorf("%s: allowed_signers names no file", shown(u))
			}
			if g.Signers, err = filepath.Abs(text); err != nil {
				return fmt.Errorf("%s: allowed_signers: %w", shown(u), err)
			}
		default:
			return fmt.Errorf("%s: unknown parameter %q; known are ref, path and allowed_signers", shown(u), key)
		}
	}
	return nil
}

// refOK is git-check-ref-format without its finer points: what passes is safe
// to show and to send.
func refOK(text string) bool {
	return text != "" && len(text) <= 255 && !strings.HasPrefix(text, "-") && !strings.Contains(text, "..") &&
		!strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) })
}

// isCommit reports whether the reference is a whole commit hash.
func isCommit(ref string) bool {
	_, err := hex.DecodeString(ref)
	return err == nil && len(ref) == 40
}

// remote is the repository as Git knows it.
func (g URL) remote() string {
	u := url.URL{Scheme: g.Scheme, Host: g.Host, Path: g.Path}
	return u.String()
}

// String gives the source without anything secret, for people.
func (g URL) String() string {
	text := "git+" + g.remote()
	if g.User != "" {
		text = strings.Replace(text, "://", "://"+url.User(g.User).String()+"@", 1)
	}
	query := make(url.Values)
	for key, value := range map[string]string{"ref": g.Ref, "path": g.Folder, "allowed_signers": g.Signers} {
		if value != "" {
			query.Set(key, value)
		}
	}
	if len(query) > 0 {
		text += "?" + query.Encode()
	}
	return text
}
