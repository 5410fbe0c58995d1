package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

// TestPreviousState: a node that was killed under the previous release boots
// with this one, while its source is broken and its engines are away. What ran
// is dead, and what is remembered of it is served.
func TestPreviousState(t *testing.T) {
	f := start(t, todoService)
	f.must(f.UpdateConfig(map[string]string{"fleet.yaml": "version: 1\nnodes: {lb1: {addres: 10.77.0.21}}\n"}))
	for _, app := range f.Apps() {
		f.must(app.StopEngine()) // the next scenario starts it
	}
	alone, err := f.App1.StartApp(32770) // what app1's web-1 was published at
	f.must(err)
	t.Cleanup(alone.Kill)
	left := filepath.Join(lab.Source(), "controller/testdata/previous")
	f.must(os.CopyFS(f.LB1.StateDir, os.DirFS(filepath.Join(left, "state"))))
	f.must(os.CopyFS(f.LB1.RunDir, os.DirFS(filepath.Join(left, "run"))))
	_, err = f.LB1.Run(f.ctx, "sh", "-c", `grep -rl @RUN@ "$0" | xargs sed -i "s|@RUN@|$0|g"`, f.LB1.RunDir)
	f.must(err)

	f.must(f.LB1.StartVipilot(f.ctx))
	f.awaitMaster(f.LB1)
	f.awaitAnswer()
	r := f.awaitStatus(f.LB1, "what is remembered, and what is amiss", func(r status.Report) error {
		if r.Config.Revision != "845e8e4a7cfc" || r.Config.Error == nil || len(r.Services["todo"].Endpoints) != 2 || r.Hosts["app1"].StaleSince == nil {
			return fmt.Errorf("revision %s, error %v, services %+v, hosts %+v", r.Config.Revision, lab.Text(r.Config.Error), r.Services, r.Hosts)
		}
		return nil
	})
	if r.Components.HAProxy.Reloads != 0 {
		t.Errorf("HAProxy was reloaded %d times", r.Components.HAProxy.Reloads)
	}
}

// previous is the commit whose nodes this vipilot takes over as they run.
const previous = "a7c94c2"

// TestUpgrade: the controller of the previous release is replaced by this one
// under load, and back; then the whole node is, drained.
func TestUpgrade(t *testing.T) {
	f := start(t, todoService)
	old, err := f.BuildRevision(f.ctx, previous)
	f.must(err)
	f.todo(f.App1, "web-1")
	f.todo(f.App2, "web-2")
	for _, n := range f.Nodes() {
		n.Program = old
	}
	f.boot()
	f.awaitMaster(f.LB1)
	f.awaitContainers(2)
	if to := os.Getenv("VIPILOT_RECORD"); to != "" { // what testdata/previous is made from
		f.must(os.CopyFS(filepath.Join(to, "state"), os.DirFS(f.LB1.StateDir)))
		_, err := f.LB1.Run(f.ctx, "sh", "-c", `cd "$1" && mkdir -p "$2" && find . -type f ! -name '*.log' -print0 | tar -c --null -T - | tar -x -C "$2"`, "sh",
			f.LB1.RunDir, filepath.Join(to, "run"))
		f.must(err)
	}
	replace := func(program string) func() {
		return func() {
			f.LB1.KillController()
			f.LB1.Program = program
			f.must(f.LB1.StartVipilot(f.ctx))
		}
	}
	f.keepsAcross(f.LB1, "upgrade of the controller", replace(""))
	f.keepsAcross(f.LB1, "downgrade of the controller", replace(old))
	f.keepsAcross(f.LB1, "upgrade again", replace(""))

	load := f.load(100, false)
	for _, n := range []*lab.Node{f.LB2, f.LB1} { // the backup first
		f.must(n.StopController())
		n.Program = ""
		f.must(n.StartVipilot(f.ctx))
		f.ready(n)
		f.awaitMaster(f.LB1)
	}
	f.lossless("both nodes replaced, drained", load)
}
