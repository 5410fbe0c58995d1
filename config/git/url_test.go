package git

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]URL{
		"git+https://git.example.net/fleet.git":                              {Scheme: "https", Host: "git.example.net", Path: "/fleet.git"},
		"git+https://ann@git.example.net:8443/f.git?ref=main&path=/a/b/":     {Scheme: "https", User: "ann", Host: "git.example.net:8443", Path: "/f.git", Ref: "main", Folder: "a/b"},
		"git+ssh://git@git.example.net/f.git?ref=v1&allowed_signers=/etc/as": {Scheme: "ssh", User: "git", Host: "git.example.net", Path: "/f.git", Ref: "v1", Signers: "/etc/as"},
		"git+file:///srv/fleet.git?path=.":                                   {Scheme: "file", Path: "/srv/fleet.git"},
	} {
		got, err := Parse(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
		if again, err := Parse(got.String()); err != nil || again != got {
			t.Errorf("%s: read back from %s it is %+v, %v", text, got, again, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"git+https://ann:hunter2@git.example.net/f.git": "holds a password",
		"git+https://:hunter2@git.example.net/f.git":    "holds a password",
		"git+http://git.example.net/f.git":              "use git+https",
		"git+git://git.example.net/f.git":               "none of git+https",
		"git+file://srv/f.git":                          "has a host",
		"git+https:///f.git":                            "has no host",
		"git+ssh://-oProxyCommand=x/f.git":              "dash",
		"git+https://git.example.net/":                  "names no repository",
		"git+https://git.example.net/f?branch=main":     `unknown parameter "branch"`,
		"git+https://git.example.net/f?ref=a&ref=b":     "given twice",
		"git+https://git.example.net/f?ref=":            "is not the name",
		"git+https://git.example.net/f?ref=a..b":        "is not the name",
		"git+https://git.example.net/f?ref=--upload":    "is not the name",
		"git+https://git.example.net/f?path=../x":       "leads out",
		"git+https://git.example.net/f?path=a/../../x":  "leads out",
		"git+https://git.example.net/f#main":            "not a Git URL",
		"git+https://h%zz/f":                            "cannot be read",
		"git+https://ann:hunter2@h:port/f":              "cannot be read",
		"git+https://h/f?allowed_signers=":              "names no file",
	} {
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the password is in %q", text, err)
		}
	}
}

// FuzzParse wants that what is taken comes back the same, and stays inside.
func FuzzParse(f *testing.F) {
	f.Add("git+https://ann@git.example.net:8443/f.git?ref=main&path=/a/b/")
	f.Add("git+file:///srv/f.git?path=a%2f..%2f..")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := Parse(text)
		if err != nil {
			return
		}
		if strings.HasPrefix(u.Folder+"/", "../") || strings.HasPrefix(u.Folder, "/") {
			t.Errorf("%q: folder %q", text, u.Folder)
		}
		if again, err := Parse(u.String()); err != nil || again != u {
			t.Errorf("%q: %+v came back as %+v, %v", text, u, again, err)
		}
	})
}
