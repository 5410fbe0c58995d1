package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/e2e/lab"
)

// What runs on a real engine under Traefik's labels, and under nginx-proxy's
// variables, becomes a repository: the engine is asked itself, over TLS, and
// what comes out is served as it is. What was not carried over is said, and a
// site that would have lost its protection is closed.
func TestImport(t *testing.T) {
	f := start(t, todoService)
	shop := f.launch(f.App1, lab.Container{Name: "shop", Publish: 8080, Env: []string{"VIRTUAL_HOST=shop.example.net"}})
	blog := f.launch(f.App1, lab.Container{Name: "blog", Publish: 8080, Labels: map[string]string{
		"traefik.http.routers.blog.rule":                      "Host(`blog.example.net`) && PathPrefix(`/`)",
		"traefik.http.routers.blog.entrypoints":               "web",
		"traefik.http.services.blog.loadbalancer.server.port": "8080",
	}})
	f.launch(f.App1, lab.Container{Name: "admin", Publish: 8080, Labels: map[string]string{
		"traefik.http.routers.admin.rule":                  "Host(`admin.example.net`)",
		"traefik.http.routers.admin.middlewares":           "sso",
		"traefik.http.middlewares.sso.forwardauth.address": "http://sso.example.net/",
	}})
	pki := filepath.Join(f.RepoDir(), "docker")
	for _, from := range []struct {
		name, said   string
		site, serves string
		closed       string
	}{
		{"nginx-proxy", "1 service imported", "shop.example.net", shop, ""},
		{"traefik", "container admin, traefik.http.middlewares.sso: forwardauth", "blog.example.net", blog, "admin.example.net"},
	} {
		dir := filepath.Join(t.TempDir(), from.name)
		said := f.onLB1("import", from.name, "--docker", "tcp://"+f.App1.Address+":2376", "--docker-ca-file", pki+"/ca.pem", "--docker-cert-file", pki+"/cert.pem", "--docker-key-file", pki+"/key.pem",
			"--node", "lb1="+f.LB1.Address, "-o", dir)
		if !strings.Contains(said, from.said) {
			t.Errorf("import %s does not say %q:\n%s", from.name, from.said, said)
		}
		f.onLB1("validate", dir)
		files := map[string]string{}
		for _, name := range []string{"fleet.yaml", "services.yaml"} {
			text, err := os.ReadFile(filepath.Join(dir, name))
			f.must(err)
			files[name] = string(text)
		}
		f.must(f.WriteConfig(files))
		if from.name == "nginx-proxy" {
			f.must(f.LB1.StartVipilot(f.ctx))
		}
		f.await(from.site, func() error {
			a, err := f.get(f.LB1.Address, from.site, "/")
			if err == nil && a.Container != from.serves {
				err = fmt.Errorf("answered by %s, want %s", a.Container, from.serves)
			}
			return err
		})
		if from.closed != "" {
			f.await(from.closed+" is closed", func() error {
				a, err := f.get(f.LB1.Address, from.closed, "/")
				if err == nil {
					t.Fatalf("%s is not closed: %+v", from.closed, a)
				}
				if !strings.Contains(err.Error(), "403") {
					return err
				}
				return nil
			})
		}
	}
}

// onLB1 runs vipilot on a node, without a controller; it gives all that is said.
func (f *fleet) onLB1(args ...string) string {
	f.t.Helper()
	out, err := f.LB1.Run(f.ctx, "sh", append([]string{"-c", `exec "$0" "$@" 2>&1`, f.Binary()}, args...)...)
	if err != nil {
		f.t.Fatalf("vipilot %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}
