package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

// One question for each kind of subject, to a node that serves and to one that
// stands by.
func TestExplain(t *testing.T) {
	f := start(t, todoService)
	id := f.launch(f.App1, lab.Container{Name: "web-1", Labels: map[string]string{"app": "todo"}, Publish: 8080})
	f.launch(f.App2, lab.Container{Name: "web-2", Labels: map[string]string{"app": "todo"}})
	f.launch(f.App2, lab.Container{Name: "web-3", Labels: map[string]string{"app": "tood"}, Publish: 8080})
	f.boot()
	f.awaitMaster(f.LB1)
	f.awaitAnswer()
	f.awaitStatus(f.LB1, "web-1 ready", inState("app1/web-1", "ready"))

	for _, subject := range []string{"web-1", "app1/web-1", id[:6], "todo", "public", lab.VIP, lab.VIP + ":80", "http://todo.example.net/x", "http://" + lab.VIP + ":80/"} {
		want := status.GetsTraffic
		if strings.HasPrefix(subject, "http://"+lab.VIP) { // no rule for a request by address
			want = status.NoTraffic
		}
		f.await("the verdict on "+subject, func() error {
			a := f.ask(f.LB1, subject)
			if a.Verdict != want || want == status.NoTraffic && !strings.Contains(a.Reason, "404") {
				return fmt.Errorf("%s, %s\n%+v", a.Verdict, a.Reason, a.Steps)
			}
			return nil
		})
	}
	f.await("good steps all the way, and the last check", func() error { // HAProxy's first may come later than the first answer
		steps := f.ask(f.LB1, "web-1").Steps
		for _, name := range []string{"host", "container", "service", "address", "server", "frontend", "vip", "announce"} {
			i := slices.IndexFunc(steps, func(s status.Step) bool { return s.Step == name && s.Verdict == status.OK })
			if i < 0 || name == "server" && !strings.Contains(steps[i].Text, "L7OK") {
				return fmt.Errorf("step %s in %+v", name, steps)
			}
		}
		return nil
	})

	for subject, want := range map[string]string{
		"web-2": "port_not_published: port 8080/tcp", "web-3": "not_selected: no service", "http://todo.example.net:81/": "no service of public listens on port 81",
	} {
		if a := f.ask(f.LB1, subject); a.Verdict != status.NoTraffic || !strings.HasPrefix(a.Reason, want) || a.Next == "" {
			t.Errorf("%s: %s, %q → %q", subject, a.Verdict, a.Reason, a.Next)
		}
	}
	f.await("the backup's explanation", func() error {
		if a := f.ask(f.LB2, "web-1"); a.Verdict != status.NoTraffic || !strings.HasPrefix(a.Reason, "backup: ") || !strings.Contains(a.Next, "lb1") {
			return fmt.Errorf("%s, %q → %q", a.Verdict, a.Reason, a.Next)
		}
		return nil
	})
	for _, subject := range []string{"web-1", "web-2", "http://todo.example.net/"} {
		out, err := f.LB1.Vipilot(f.ctx, "explain", subject)
		t.Logf("vipilot explain %s: %v\n%s", subject, err, out)
	}
	if out, err := f.LB1.Vipilot(f.ctx, "explain", "web-9"); err == nil || !strings.Contains(out+err.Error(), "did you mean web-") {
		t.Errorf("an unknown name: %v\n%s", err, out)
	}

	f.must(f.App1.Kill(f.ctx, "web-1", "SIGSTOP")) // it runs, and answers nobody
	f.await("a failing check explained", func() error {
		a := f.ask(f.LB1, "web-1")
		if a.Verdict != status.NoTraffic || !strings.HasPrefix(a.Reason, "down: ") || !strings.Contains(a.Reason, "TOUT") {
			return fmt.Errorf("%s, %s", a.Verdict, a.Reason)
		}
		return nil
	})
}

// ask runs vipilot explain --json on a node, once the node has heard of the
// subject: the other may know it sooner.
func (f *fleet) ask(n *lab.Node, subject string) status.Answer {
	f.t.Helper()
	var a status.Answer
	f.await("explain "+subject+" on "+n.Name, func() error {
		out, err := n.Vipilot(f.ctx, "explain", "--json", subject)
		if err != nil {
			return err
		}
		return json.Unmarshal([]byte(out), &a)
	})
	if !a.Found || a.Node != n.Name {
		f.t.Errorf("%s: found %v by %q", subject, a.Found, a.Node)
	}
	return a
}
