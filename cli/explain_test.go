package cli

import (
	"bytes"
	"errors"
	"testing"

	"github.com/vipilot/vipilot/status"
)

func TestHostOf(t *testing.T) {
	for subject, want := range map[string]string{
		"todo": "", "app1/web-1": "", "web-1": "", "10.0.0.1": "", "10.0.0.1:80": "", "2001:db8::1": "", "http://10.0.0.1/": "", "http://[::1]:80/": "",
		"todo.example.net": "todo.example.net", "todo.example.net:80/x.y": "todo.example.net", "http://todo/": "todo",
		"https://u:p@todo.example.net:8443/x?y": "todo.example.net", "http://%zz/": "", "": "",
	} {
		if got := hostOf(subject); got != want {
			t.Errorf("host of %q: %q, want %q", subject, got, want)
		}
	}
}

func TestPrintAnswer(t *testing.T) {
	for _, test := range []struct {
		found, json  bool
		code         int
		stdout, text string
	}{
		{true, false, exitOK, "service", ""},
		{true, true, exitOK, `"kind": "service"`, ""},
		{false, false, exitFailed, "", "✗ nothing is called so"},
		{false, true, exitFailed, `"found": false`, ""},
	} {
		var out, errs bytes.Buffer
		p := Program{Stdout: &out, Stderr: &errs}
		a := &status.Answer{Found: test.found, Explanation: status.Explanation{Kind: "service", Reason: "nothing is called so"}}
		err := p.printAnswer(a, test.json)
		var code silent
		if errors.As(err, &code); code.code != test.code || err != nil && code.code == 0 {
			t.Errorf("%+v: %v", test, err)
		}
		if !bytes.Contains(out.Bytes(), []byte(test.stdout)) || !bytes.Contains(errs.Bytes(), []byte(test.text)) || (test.stdout == "") != (out.Len() == 0) {
			t.Errorf("%+v: %q, %q", test, out.String(), errs.String())
		}
	}
}
