package sentinel

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/routing/remote"
)

const goodWant = `{"routing":{"asn":65010,"router_id":"10.77.0.21",
"peers":[{"name":"edge","address":"10.77.0.1","asn":65000,"password":"secret","hold_time":9000000000}],
"prefixes":[{"prefix":"203.0.113.10/32","vip":"public","while_held":true,"communities":["1:2"],"med":7}]},
"gate":{"pid":42,"start_time":99,"socket":"/run/h.sock"},"track_file":"/run/track","of_a_newer_build":1}`

func TestDecodeWant(t *testing.T) {
	if _, err := decodeWant([]byte(goodWant)); err != nil {
		t.Error(err)
	}
	if _, err := decodeWant([]byte("{}")); err != nil {
		t.Errorf("nothing wanted: %v", err)
	}
	for old, test := range map[string]struct{ by, want string }{
		`"pid":42`:               {`"pid":-1`, "is not a process id"},
		`"start_time":99`:        {`"start_time":0`, "a bare pid"},
		`"/run/h.sock"`:          {`"h.sock"`, "not an absolute path"},
		`"/run/track"`:           {`"/run/../etc/passwd"`, "not an absolute path"},
		`203.0.113.10/32`:        {`203.0.113.10/24`, "canonical"},
		`"prefix":`:              {`"no_prefix":`, "canonical"},
		`"10.77.0.1"`:            {`"router"`, "read want"},
		`"hold_time":9000000000`: {`"hold_time":1`, "hold_time"},
		`of_a_newer_build":1}`:   {`of_a_newer_build":1} x`, "read want"},
		`of_a_newer_build":1`:    {`version":2`, "orders up to version 1; drain the node"},
	} {
		text := strings.Replace(goodWant, old, test.by, 1)
		if _, err := decodeWant([]byte(text)); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s -> %s: %v, want %q", old, test.by, err, test.want)
		}
	}
}

func FuzzDecodeWant(f *testing.F) {
	f.Add([]byte(goodWant))
	f.Add([]byte(`{"routing":{"prefixes":[{"prefix":""}]}}`))
	f.Add([]byte(`{"gate":{"pid":4194305},"track_file":"\u0000"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		want, err := decodeWant(data)
		if err != nil {
			return
		}
		// What was taken survives being saved, and is not a change then.
		file := filepath.Join(t.TempDir(), "want")
		if err := saveWant(file, want); err != nil {
			t.Fatal(err)
		}
		again, found, err := loadWant(file)
		if err != nil || !found || !sameWant(want, again) {
			t.Fatalf("loaded %+v, %t, %v; saved %+v", again, found, err, want)
		}
	})
}

func TestWantFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "want")
	if _, found, err := loadWant(file); found || err != nil {
		t.Errorf("no file: %t, %v", found, err)
	}
	if err := os.WriteFile(file+".tmp", nil, 0o644); err != nil { // left by a crash
		t.Fatal(err)
	}
	if err := saveWant(file, remote.Want{TrackFile: "/x"}); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	if err := os.WriteFile(file, []byte(`{"gate":{"pid":-3}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, found, err := loadWant(file); found || err == nil {
		t.Errorf("invalid orders were taken up: %v", err)
	}
}

// Orders that the previous release's controller gave are taken.
func TestWantOfPrevious(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "controller", "testdata", "previous", "run", remote.WantFile))
	if err != nil {
		t.Fatal(err)
	}
	want, err := decodeWant([]byte(strings.ReplaceAll(string(data), "@RUN@", "/run/vipilot")))
	if err != nil || len(want.Routing.Prefixes) != 1 || want.Gate.PID == 0 {
		t.Errorf("orders %+v, %v", want, err)
	}
}
