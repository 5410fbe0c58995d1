package controller

import (
	"strings"
	"testing"

	"github.com/vipilot/vipilot/status"
)

func TestPlanMarksRawLines(t *testing.T) {
	const more = `
  raw1:
    vip: public
    raw: ["option tcp-smart-connect"]
    tcp: {port: 9001}
    backend: {servers: ["10.77.0.40:9000"]}
  plain:
    vip: public
    tcp: {port: 9002}
    backend: {servers: ["10.77.0.40:9000"]}
haproxy: {global: ["tune.ssl.cachesize 50000"]}
routing:
`
	plan, err := MakePlan(load(t, pair), load(t, strings.Replace(pair, "\nrouting:\n", more, 1)), View{}, PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	raw := make(map[string]bool)
	for _, c := range plan.Changes {
		raw[strings.TrimSpace(c.Kind+" "+c.Name)] = c.Raw
	}
	if !raw["service raw1"] || raw["service plain"] || !raw["haproxy"] {
		t.Errorf("marked %v", raw)
	}
	var text strings.Builder
	if err := status.WritePlan(&text, &plan, false); err != nil || strings.Count(text.String(), "(raw lines)") != 2 {
		t.Errorf("%v\n%s", err, text.String())
	}
}
