package e2e

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

// staged is the fleet on a Git source that is polled every second.
type staged struct {
	*fleet
	*lab.Forge
}

// moreServices are two beside the usual one.
const moreServices = `  db: {vip: public, tcp: {port: 5432}, backend: {servers: ["10.77.0.40:5432"]}}
  mail: {vip: public, tcp: {port: 25}, backend: {servers: ["10.77.0.41:25"]}}
`

// stage starts both nodes on a repository with one commit; two containers serve.
func stage(t *testing.T, guard string) *staged {
	f := &staged{fleet: start(t, "services: {}\n")}
	var err error
	f.Forge, err = f.Client.StartForge(lab.ClientAddress, filepath.Join(f.Dir, "forge"), "read-only")
	f.must(err)
	t.Cleanup(func() {
		if err := f.Forge.Close(); err != nil {
			t.Error(err)
		}
	})
	files := f.dockerFiles()
	maps.Copy(files, f.FleetConfig())
	files["services.yaml"], files["guard.yaml"] = todoService+moreServices, guard
	f.pushed(files)
	f.todo(f.App1, "web-1")
	f.todo(f.App2, "web-2")
	f.boot(f.flags()...)
	f.awaitMaster(f.LB1)
	f.awaitContainers(2)
	return f
}

// flags are those of every node. Canaries are read by the others.
func (f *staged) flags() []string {
	return []string{"--config", f.URL + "?ref=main", "--git-token-file", f.TokenFile, "--git-ca-file", f.CAFile, "--sync-interval", "1s", "--listen", "0.0.0.0:9890"}
}

// pushed commits files; the others stay as they were.
func (f *staged) pushed(files map[string]string) (commit string) {
	f.t.Helper()
	commit, err := f.Push(f.ctx, files, false)
	f.must(err)
	return commit
}

// taken waits until nodes run a revision, and nothing else waits there.
func (f *staged) taken(what, revision string, nodes ...*lab.Node) {
	f.t.Helper()
	for _, n := range nodes {
		f.awaitStatus(n, what, func(r status.Report) error {
			if r.Config.Revision != revision || r.Config.Pending != nil || !r.Ready {
				return fmt.Errorf("revision %s, want %s; ready %v, error %q", r.Config.Revision, revision, r.Ready, lab.Text(r.Config.Error))
			}
			return nil
		})
	}
}

// stays waits until nodes say of a revision why it is not in force, in status,
// metrics, log and on the terminal, while the good one is.
func (f *staged) stays(what, good, pending, reason, why string, nodes ...*lab.Node) {
	f.t.Helper()
	for _, n := range nodes {
		f.awaitStatus(n, what, func(r status.Report) error {
			if c := r.Config; c.Revision != good || lab.Text(c.Pending) != pending || c.PendingReason != reason || !strings.Contains(lab.Text(c.Error), why) {
				return fmt.Errorf("revision %s, want %s; pending %q (%s), want %s (%s); error %q, want %q", c.Revision, good,
					lab.Text(c.Pending), c.PendingReason, pending, reason, lab.Text(c.Error), why)
			}
			return nil
		})
		f.await(what+", said by "+n.Name, func() error {
			metrics, err := n.Read(f.ctx, "/metrics")
			if err != nil {
				return err
			}
			screen, err := n.Vipilot(f.ctx, "status")
			if err != nil {
				return err
			}
			for _, want := range []struct{ in, text string }{
				{metrics, fmt.Sprintf("vipilot_config_info{revision=%q} 1", good)},
				{metrics, fmt.Sprintf("vipilot_config_pending_info{reason=%q,revision=%q} 1", reason, pending)},
				{metrics, "vipilot_config_pending 1"},
				{screen, good}, {screen, pending}, {screen, why}, {strings.ReplaceAll(n.Logs(1<<20), `"revision":"`, "revision="), "revision=" + pending}, // text or JSON
			} {
				if !strings.Contains(want.in, want.text) {
					return fmt.Errorf("it says nowhere %q:\n%s", want.text, want.in)
				}
			}
			return nil
		})
	}
}

// logged waits for a text in a node's log.
func (f *staged) logged(n *lab.Node, text string) {
	f.t.Helper()
	f.await("a line of "+n.Name, func() error {
		if !strings.Contains(n.Logs(1<<20), text) {
			return fmt.Errorf("the log says nowhere %q", text)
		}
		return nil
	})
}

// A revision comes into force as a transaction: what a daemon refuses never
// replaces what serves, also on a node that boots beside it, and what leaves a
// service without endpoints goes back by itself. Clients notice the second
// only, and for a moment.
func TestRevisionGoesBack(t *testing.T) {
	f := stage(t, "guard: {settle: 1s}\n")
	before := f.status(f.LB1)
	good, both := before.Config.Revision, f.Nodes()
	load := f.load(200, true)
	var bad string
	for _, change := range []struct{ daemon, file, old, new, why string }{
		{"keepalived", "fleet.yaml", "vrrp: {", "vrrp: {interface: eth9, ", "eth9"},
		{"HAProxy", "services.yaml", "    backend:\n", "    raw: [\"http-request set-header X-A %[nonsense]\"]\n    backend:\n", "unknown fetch method 'nonsense'"},
	} {
		files := map[string]string{"services.yaml": todoService + moreServices, "fleet.yaml": f.FleetConfig()["fleet.yaml"]}
		files[change.file] = strings.Replace(files[change.file], change.old, change.new, 1)
		bad = f.pushed(files)
		f.stays(change.daemon+" refuses", good, bad, "refused", change.why, both...)
	}
	f.must(errors.Join(f.PowerOff(f.ctx, f.LB2), f.PowerOn(f.ctx, f.LB2)))
	f.must(f.LB2.StartVipilot(f.ctx, f.flags()...))
	f.stays("a boot beside it", good, bad, "refused", "unknown fetch method 'nonsense'", f.LB2)
	f.awaitStatus(f.LB2, "a boot beside it", func(r status.Report) error {
		if p := r.Components.HAProxy; p.State != "running" {
			return fmt.Errorf("haproxy %+v (%s)", p, lab.Text(p.Error))
		}
		return lab.EndpointsReady(2)(r) // what it has now, the next revision takes
	})
	f.lossless("what daemons refuse", load)

	load = f.load(200, true)
	emptied := strings.Replace(todoService, "app: todo", "app: todoo", 1)
	bad = f.pushed(map[string]string{"services.yaml": emptied + moreServices, "fleet.yaml": f.FleetConfig()["fleet.yaml"]})
	f.stays("a revision that empties a service", good, bad, "taken_back", "it left service todo without a ready endpoint (it had 2)", both...)
	f.awaitMaster(f.LB1)
	f.awaitContainers(2)
	hole := load.Stop()
	t.Logf("a revision that empties a service: %v", hole)
	if hole.LongestGap < 500*time.Millisecond { // of guard.settle; HAProxy keeps many requests until the servers are back
		t.Errorf("the revision that was taken back was never in force: %v", hole)
	}
	f.logged(f.LB1, "revision taken back")
	load = f.load(200, true)
	f.steady(1500 * time.Millisecond) // past the next poll
	f.stays("the next poll", good, bad, "taken_back", "change the configuration", both...)
	f.taken("the next revision", f.pushed(map[string]string{"services.yaml": todoService + moreServices}), both...)
	f.lossless("after it was taken back", load)
	if now := f.ready(f.LB1).Components; now.HAProxy.PID != before.Components.HAProxy.PID || now.Keepalived.PID != before.Components.Keepalived.PID {
		t.Errorf("daemons were replaced: %+v, then %+v", before.Components, now)
	}
}

// A revision that removes too much waits for a person, except on a node that
// starts from nothing. A canary goes first; the other node follows when the
// canary is well, and not when it went back or does not answer.
func TestStagedRollout(t *testing.T) {
	f := stage(t, "guard: {max_removed: 50%, settle: 1s}\n")
	load := f.load(200, true)
	good := f.status(f.LB1).Config.Revision
	f.removesTooMuch(good)
	f.lossless("too much removed", load)

	load = f.load(200, true)
	fleet := strings.Replace(f.FleetConfig()["fleet.yaml"], "lb2: {", "lb2: {canary: true, ", 1)
	good = f.pushed(map[string]string{"fleet.yaml": fleet, "guard.yaml": "guard: {settle: 1s, soak: 1s}\n"})
	f.taken("the canary", good, f.LB2)
	f.taken("who follows the canary", good, f.LB1)
	if first, next := f.status(f.LB2).Config.AppliedAt, f.status(f.LB1).Config.AppliedAt; next.Sub(*first) < time.Second {
		t.Errorf("the canary has it since %s, and lb1 since %s, before guard.soak was over", first, next)
	}
	f.logged(f.LB1, "the canaries are well with the revision")

	bad := f.pushed(map[string]string{"services.yaml": strings.Replace(todoService, "app: todo", "app: todoo", 1), "guard.yaml": "guard: {settle: 1s, soak: 10m, wait: 4s, on_timeout: continue}\n"}) // a status is read for up to 3 s
	const why = "it left service todo without a ready endpoint"
	f.stays("the canary went back", good, bad, "taken_back", why, f.LB2)
	f.logged(f.LB2, `"level":"ERROR","msg":"revision taken back","revision":"`+bad+`","service":"todo"`)
	f.stays("who does not follow it", good, bad, "canary", "it waits for canary lb2: it does not take the revision: "+why, f.LB1)
	f.stays("who does not follow it although guard.wait is over", good, bad, "canary", "guard.wait (4s) is over, let it through with vipilot approve "+bad, f.LB1)

	f.LB2.KillController()
	silent := f.pushed(map[string]string{"services.yaml": todoService, "guard.yaml": "guard: {settle: 1s, soak: 1s, wait: 1s}\n"})
	f.stays("a canary that does not answer", good, silent, "canary", "guard.wait (1s) is over, let it through with vipilot approve "+silent, f.LB1)
	f.approve(f.LB1, silent[:8])
	f.taken("approved", silent, f.LB1)
	f.taken("going on without the canary", f.pushed(map[string]string{"guard.yaml": "guard: {settle: 1s, soak: 1s, wait: 1s, on_timeout: continue}\n"}), f.LB1)
	f.logged(f.LB1, "going on without the canaries")
	f.lossless("canary first", load)
}

// removesTooMuch pushes a revision without two of three services. It waits on
// each node, for somebody who may approve it; a node without a past takes it.
func (f *staged) removesTooMuch(good string) {
	f.t.Helper()
	less := f.pushed(map[string]string{"services.yaml": todoService})
	f.stays("too much removed", good, less, "guard", "it removes 2 of 3 services (db and mail), more than guard.max_removed: 50%", f.Nodes()...)
	if out, err := f.LB1.Vipilot(f.ctx, "approve", "ffffffff"); err == nil || !strings.Contains(err.Error(), less+" does: it removes") {
		f.t.Errorf("another revision was approved: %v\n%s", err, out)
	}
	if out, err := f.LB1.Run(f.ctx, f.Binary(), "approve", less, "--addr", lab.StatusAddress); err == nil || !strings.Contains(err.Error(), "token") {
		f.t.Errorf("approved over TCP without a token: %v\n%s", err, out)
	}
	f.approve(f.LB1, less[:8])
	f.taken("approved", less, f.LB1)
	if c := f.status(f.LB2).Config; c.Revision != good {
		f.t.Errorf("approved on lb1, and lb2 runs %s", c.Revision)
	}
	f.must(errors.Join(f.PowerOff(f.ctx, f.LB2), f.LB2.Forget(), f.PowerOn(f.ctx, f.LB2)))
	f.must(f.LB2.StartVipilot(f.ctx, append(f.flags(), "--log-format", "json")...))
	f.taken("a first start", less, f.LB2)
	f.awaitStatus(f.LB2, "a first start", lab.EndpointsReady(2)) // a canary that has none loses none
}

func (f *staged) approve(n *lab.Node, revision string) {
	f.t.Helper()
	out, err := n.Vipilot(f.ctx, "approve", revision)
	if err != nil || !strings.Contains(out, "approved") {
		f.t.Errorf("vipilot approve: %v\n%s", err, out)
	}
}
