package render

import (
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	for name, c := range map[string]struct {
		old, fresh string
		has, lacks []string
	}{
		"equal":         {"a\n", "a\n", nil, []string{"a"}},
		"a line":        {"a\nb\nc\n", "a\nx\nc\n", []string{"--- a/f", "+++ b/f", "-b", "+x", " a"}, nil},
		"vrrp password": {"  auth_pass hunter1\n  x\n", "  auth_pass hunter1\n  y\n", []string{"auth_pass ***", "+  y"}, []string{"hunter1"}},
		"only it":       {"  auth_pass hunter1\n", "  auth_pass hunter2\n", []string{"only a secret"}, []string{"hunter"}},
		"userlist":      {"", "  user ann password $5$abc$def groups x\n", []string{"user ann password *** groups x"}, []string{"$5$"}},
		"bgp":           {"", " neighbor 10.77.0.1 password hunter2\n", []string{"password ***"}, []string{"hunter2"}},
		"ospf":          {"", " ip ospf message-digest-key 1 md5 hunter2\n", []string{"md5 ***"}, []string{"hunter2"}},
		"key":           {"", "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n", []string{"+(private key)"}, []string{"AAAA"}},
	} {
		got := Diff("f", []byte(c.old), []byte(c.fresh))
		for _, want := range c.has {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q is missing in\n%s", name, want, got)
			}
		}
		for _, unwanted := range c.lacks {
			if strings.Contains(got, unwanted) {
				t.Errorf("%s: %q is shown in\n%s", name, unwanted, got)
			}
		}
	}
	if got := Diff("f", nil, []byte("x\n")); !strings.HasPrefix(got, "--- /dev/null\n") {
		t.Errorf("a new file: %s", got)
	}
}
