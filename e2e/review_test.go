package e2e

import (
	"fmt"
	"testing"

	"github.com/vipilot/vipilot/e2e/lab"
)

// Every value of a container label is a site of its own, below the wildcard
// that the configuration allows.
func TestReviewApps(t *testing.T) {
	f := start(t, todoService+`  review:
    vip: public
    http: {hosts: ["*.preview.example.net"], host_label: preview, port: 80}
    backend: {containers: {labels: {app: shop}}, port: 8080}
`)
	label := func(value string) map[string]string { return map[string]string{"app": "shop", "preview": value} }
	twelve := f.launch(f.App1, lab.Container{Name: "pr-12", Labels: label("pr-12"), Publish: 8080})
	f.boot()
	f.awaitMaster(f.LB1)
	leads := func(site, want string) {
		f.await(site, func() error {
			a, err := f.get(lab.VIP, site, "/")
			if want == "" && err != nil {
				return nil
			}
			if err == nil && a.Container != want {
				err = fmt.Errorf("answered by %s, want %q", a.Container, want)
			}
			return err
		})
	}
	leads("pr-12.preview.example.net", twelve)
	leads("pr-13.preview.example.net", "")
	thirteen := f.launch(f.App2, lab.Container{Name: "pr-13", Labels: label("PR-13"), Publish: 8080})
	f.launch(f.App2, lab.Container{Name: "bad", Labels: label("a.b"), Publish: 8080})
	leads("pr-13.preview.example.net", thirteen)
	leads("pr-12.preview.example.net", twelve)
	f.await("the status", func() error {
		s := f.ready(f.LB1).Services["review"]
		if len(s.Endpoints) != 2 || s.Endpoints[0].Branch == "" || len(s.Rejected) != 1 || s.Rejected[0].Reason != "invalid_label" {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}
