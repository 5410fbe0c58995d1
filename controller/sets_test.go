package controller

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/config"
)

func TestSetsOfContainers(t *testing.T) {
	service := config.Service{Name: "todo"}
	service.Backend.Split = []config.Set{
		{Name: "v2", Percent: 10, Containers: &config.Selector{Labels: map[string]string{"version": "2"}}},
		{Name: "v3", Percent: 5},
	}
	for _, c := range []struct{ key, value, set, refused string }{
		{"app", "todo", "", ""},
		{"version", "2", "v2", ""},
		{"vipilot.set", "v3", "v3", ""},
		{"vipilot.set", "v2", "", ""}, // v2 is described otherwise
		{"vipilot.set", "v4", "", `label vipilot.set="v4" names no set of todo`},
		{"vipilot.set", "v4\n", "", `label vipilot.set="v4\n" names no set of todo`},
	} {
		set, refused := setOf(service, web(1, c.key, c.value))
		if set != c.set || !strings.HasPrefix(refused, c.refused) || (refused == "") != (c.refused == "") {
			t.Errorf("%s=%q: set %q, refused %q", c.key, c.value, set, refused)
		}
	}
	if set, refused := setOf(config.Service{Name: "plain"}, web(1, "vipilot.set", "v4")); set != "" || refused != "" {
		t.Errorf("without a split: set %q, refused %q", set, refused)
	}
	if got := shareOf(service, "v2") + "; " + shareOf(service, ""); got != "set v2, which gets 10%; no set: the rest, 85%" {
		t.Error(got)
	}
}

// Containers reach their set's servers in the backend.
func TestDesireSplits(t *testing.T) {
	yaml := strings.Replace(pair, "labels: {app: todo}}", "labels: {app: todo}}, split: {v2: 10%}", 1)
	if yaml == pair {
		t.Fatal("pair has another form")
	}
	in := input(t)
	in.Config = load(t, yaml)
	canary := web(2, "app", "todo")
	canary.Labels["vipilot.set"] = "v2"
	in.Hosts["app1"] = snapshot("app1", web(1, "app", "todo"), canary)
	d := answerAll(t, &in)
	var got []string
	for _, s := range backend(t, d, "todo").Servers {
		got = append(got, fmt.Sprintf("%s in %q", s.Name[:10], s.Set))
	}
	if want := `app1.web-1 in "", app1.web-2 in "v2"`; strings.Join(got, ", ") != want {
		t.Errorf("%s, want %s", strings.Join(got, ", "), want)
	}
}
