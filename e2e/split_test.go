package e2e

import (
	"math"
	"testing"

	"github.com/vipilot/vipilot/e2e/lab"
)

// A canary's share is changed in the repository, under load: it is met at
// once, nothing is lost and HAProxy is not reloaded.
func TestSplit(t *testing.T) {
	split := func(percent string) string {
		return calm(todoService) + "      split: {v2: " + percent + "}\n"
	}
	f := start(t, split("10%"))
	f.todo(f.App1, "web-1")
	f.boot()
	f.awaitMaster(f.LB1)
	f.awaitAnswer()
	canary := f.launch(f.App2, lab.Container{Name: "web-v2", Labels: map[string]string{"app": "todo", "vipilot.set": "v2"}, Publish: 8080})
	f.awaitContainers(2)
	before := f.reloads(f.LB1)
	load := f.load(100, true)
	share := func(what string, percent int) {
		t.Helper()
		const n = 900
		got := 0
		for range n {
			a, err := f.get(lab.VIP, "todo.example.net", "/")
			f.must(err)
			if a.Container == canary {
				got++
			}
		}
		p := float64(percent) / 100
		mean, bound := n*p, 6*math.Sqrt(n*p*(1-p)) // chance alone is outside once in some ten million times
		t.Logf("%s: %d of %d for the canary, wanted %.0f ± %.0f", what, got, n, mean, bound)
		if math.Abs(float64(got)-mean) > bound {
			t.Errorf("%s: %d of %d for the canary, wanted %.0f ± %.0f", what, got, n, mean, bound)
		}
	}
	share("10%", 10)
	for _, percent := range []int{60, 0, 100} {
		text := map[int]string{60: "60%", 0: "0%", 100: "100%"}[percent]
		f.write("services.yaml", split(text))
		share(text, percent)
	}
	f.lossless("shares 10%, 60%, 0%, 100%", load)
	if after := f.reloads(f.LB1); after != before {
		t.Errorf("HAProxy was reloaded %d times for a share", after-before)
	}
}
