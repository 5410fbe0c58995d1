package status

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

var metricForm = regexp.MustCompile(`\bvipilot_[a-z0-9_]+`)

// ourMetrics are the names of all metrics, as Prometheus stores them, with
// their help.
func ourMetrics(t *testing.T) map[string]string {
	t.Helper()
	names := make(map[string]string)
	all := make(chan *prometheus.Desc, 100)
	newCollector(func() *Report { return &Report{} }, "").Describe(all)
	NewSteps().Metrics().Describe(all)
	close(all)
	form := regexp.MustCompile(`fqName: "([^"]+)", help: "([^"]*)"`)
	for d := range all {
		found := form.FindStringSubmatch(d.String())
		if found == nil {
			t.Fatalf("no name in %s", d)
		}
		names[found[1]] = found[2]
	}
	return names
}

// What the dashboard, the alerts and the documentation name exists, and the
// documentation names all there is.
func TestMetricsThatAreNamedExist(t *testing.T) {
	ours := ourMetrics(t)
	for _, file := range []string{"../deploy/alerts.yaml", "../deploy/alerts_test.yaml", "../deploy/grafana.json", "../docs/monitoring.md", "../docs/operations.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		named := metricForm.FindAllString(string(text), -1)
		for _, name := range slices.Compact(slices.Sorted(slices.Values(named))) {
			base := name
			for _, part := range []string{"_bucket", "_count", "_sum"} {
				base = strings.TrimSuffix(base, part)
			}
			if ours[name] == "" && ours[base] == "" && name != "vipilot_" {
				t.Errorf("%s names %s, which does not exist", file, name)
			}
		}
		if len(named) == 0 {
			t.Errorf("%s names no metric", file)
		}
	}
	docs, err := os.ReadFile("../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, help := range ours {
		if row := "| `" + name + "` |"; !strings.Contains(string(docs), row) || !strings.Contains(string(docs), help) {
			t.Errorf("docs/monitoring.md has no row %s … %s", row, help)
		}
	}
}

// Every alert is explained, and tested both ways.
func TestAlertsAreDocumentedAndTested(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	docs, tests := read("../docs/monitoring.md"), read("../deploy/alerts_test.yaml")
	alerts := regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(read("../deploy/alerts.yaml"), -1)
	for _, a := range alerts {
		if !strings.Contains(docs, "| `"+a[1]+"` |") {
			t.Errorf("docs/monitoring.md does not say what to do about %s", a[1])
		}
		for _, kind := range []string{"raised", "quiet"} {
			if !strings.Contains(tests, "name: "+a[1]+" "+kind+"\n") {
				t.Errorf("deploy/alerts_test.yaml has no %s %s", a[1], kind)
			}
		}
	}
	if len(alerts) < 15 {
		t.Errorf("only %d alerts were found", len(alerts))
	}
}

func TestDashboardIsJSON(t *testing.T) {
	text, err := os.ReadFile("../deploy/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	seen := make(map[int]bool)
	for _, p := range dashboard.Panels {
		if seen[p.ID] || p.Title == "" || p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %d %q is empty, or there twice", p.ID, p.Title)
		}
		seen[p.ID] = true
	}
}

// promtool agrees with the rules and their tests, and with every expression of
// the dashboard.
func TestE2EPromtool(t *testing.T) {
	if os.Getenv("VIPILOT_E2E") != "1" {
		t.Skip("set VIPILOT_E2E=1 to run against the real promtool")
	}
	for _, args := range [][]string{{"check", "rules", "../deploy/alerts.yaml"}, {"test", "rules", "../deploy/alerts_test.yaml"}, {"check", "rules", dashboardAsRules(t)}} {
		if out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// dashboardAsRules makes a recording rule of each expression, for promtool to parse.
func dashboardAsRules(t *testing.T) string {
	text, err := os.ReadFile("../deploy/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var rules []rule
	for _, found := range regexp.MustCompile(`"expr": ("(?:[^"\\]|\\.)*")`).FindAllStringSubmatch(string(text), -1) {
		var expr string
		if err := json.Unmarshal([]byte(found[1]), &expr); err != nil {
			t.Fatal(err)
		}
		expr = strings.NewReplacer("$__rate_interval", "1m", "$node", ".*", "$service", ".*").Replace(expr)
		rules = append(rules, rule{"panel:" + string(rune('a'+len(rules)/26)) + string(rune('a'+len(rules)%26)), expr})
	}
	file, err := json.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}}) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	name := t.TempDir() + "/dashboard.yaml"
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
