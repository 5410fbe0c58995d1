package render

import (
	"regexp"
	"strings"

	"github.com/aymanbagabas/go-udiff"
)

// Diff tells two versions of a file apart, in the unified format of diff -u,
// with three lines of context; "" when they are equal. A file that is not
// there on one side is nil. Passwords are masked on both sides first.
func Diff(name string, old, fresh []byte) string {
	from, to := "a/"+name, "b/"+name
	if old == nil {
		from = "/dev/null"
	}
	if fresh == nil {
		to = "/dev/null"
	}
	before, after := Mask(string(old)), Mask(string(fresh))
	if before == after && string(old) != string(fresh) {
		return "--- " + from + "\n+++ " + to + "\nonly a secret in it changed\n"
	}
	return udiff.Unified(from, to, before, after)
}

// secrets are the places in daemons' files where a password stands:
// keepalived's auth_pass, HAProxy's userlists and its peers' credentials, and
// the passwords of FRR's neighbours and interfaces.
var secrets = regexp.MustCompile(`(?m)^(.*\b(?:auth_pass|(?:insecure-)?password|authentication-key|message-digest-key \d+ md5)\s+)\S+`)

var keys = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----`)

// Mask is a daemon's file without what must not be shown.
func Mask(text string) string {
	if strings.Contains(text, "-----BEGIN") {
		text = keys.ReplaceAllString(text, "(private key)")
	}
	return secrets.ReplaceAllString(text, "${1}***")
}
