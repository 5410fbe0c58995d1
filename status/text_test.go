package status

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/vipilot/vipilot/internal/golden"
)

// The clock in the bubble stands at 2000-01-01 00:00 UTC.
func TestWriteText(t *testing.T) {
	crowd := Service{VIP: "any"}
	for i := range 40 {
		state := "ready"
		if i%13 == 7 {
			state = "down"
		}
		crowd.Endpoints = append(crowd.Endpoints, Endpoint{Name: fmt.Sprintf("app1/web-%d", i), Address: fmt.Sprintf("10.77.0.11:%d", 32768+i), State: state})
	}
	busy := example(t)
	busy.Services["crowd"] = crowd
	busy.Config.Pending, busy.Config.Error = ptr("77aa01bc23de"), ptr("it removes 2 of 3 services (db and mail), more than guard.max_removed: 50%\nfetch the repository: no route to host")
	for name, c := range map[string]struct {
		report *Report
		color  bool
	}{
		"ready": {example(t), false}, "ready-color": {example(t), true}, "troubled": {troubled(), false},
		"crowd": {busy, false}, "none": {nil, false}, "empty": {&Report{Version: "dev"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				if err := WriteText(&out, c.report, c.color); err != nil {
					t.Fatal(err)
				}
				golden.Equal(t, "testdata/text-"+name+".golden", out.Bytes())
				if !c.color && strings.ContainsRune(out.String(), '\x1b') {
					t.Error("an escape character reached the terminal")
				}
			})
		})
	}
}

func TestUnready(t *testing.T) {
	if got := example(t).Unready(); got != nil {
		t.Errorf("a ready node has reasons: %q", got)
	}
	if got := (&Report{}).Unready(); len(got) != 1 {
		t.Errorf("a node that is not ready has no reason: %q", got)
	}
	for _, line := range troubled().Unready() {
		if strings.ContainsAny(line, "\n\x1b") {
			t.Errorf("%q is not one plain line", line)
		}
	}
}
