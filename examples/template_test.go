package examples

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"gopkg.in/yaml.v3"

	"github.com/vipilot/vipilot/cli"
)

// TestMain lets scripts of the template repository run the real program as `vipilot`.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"vipilot": func() {
			os.Exit(cli.Run(context.Background(), cli.Program{Version: "test", Args: os.Args[1:], Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}))
		},
	})
}

const template = "../deploy/template-repository"

// checkout is a pull request against a repository made from the template.
type checkout struct {
	t    *testing.T
	dir  string
	bins string // programs of the forge's machines, which stand for nothing here
}

// fromTemplate makes the repository, with main and origin/main at one commit.
func fromTemplate(t *testing.T) checkout {
	t.Helper()
	c := checkout{t, filepath.Join(t.TempDir(), "fleet"), t.TempDir()}
	if err := os.CopyFS(c.dir, os.DirFS(template)); err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{
		"sudo": `exec "$@"`, "haproxy": "", "keepalived": "", // there is nothing to install
		"gh":   `test "$1 $2 $3 $4" = "pr comment 7 --body-file" && grep -q "vipilot plan" "$5" && touch commented`,
		"curl": `case "$*" in *PRIVATE-TOKEN:secret*body@plan.md*https://git.example.net/api/v4/projects/1/merge_requests/7/notes) touch commented;; *) exit 9;; esac`,
	} {
		c.write(filepath.Join(c.bins, name), "#!/bin/sh\n"+script+"\n", 0o755)
	}
	c.must(`git init -q -b main . && git add -A && git commit -q -m fleet && git update-ref refs/remotes/origin/main HEAD && git checkout -q -b change`)
	return c
}

func (c checkout) write(name, text string, mode os.FileMode) {
	c.t.Helper()
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		c.t.Fatal(err)
	}
}

// sh runs a step as the forge's runner does. Only steps that install see the
// stand-ins of daemons.
func (c checkout) sh(script string) (string, error) {
	path := os.Getenv("PATH")
	if strings.Contains(script, "install.sh") || strings.Contains(script, "gh pr") || strings.Contains(script, "curl") {
		path = c.bins + ":" + path
	}
	cmd := exec.CommandContext(c.t.Context(), "sh", "-e", "-c", script)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "PATH="+path, "HOME="+c.t.TempDir(), "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.net", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.net",
		"GITHUB_BASE_REF=main", "GITHUB_STEP_SUMMARY=summary.md", "PULL_REQUEST=7",
		"CI_MERGE_REQUEST_DIFF_BASE_SHA=origin/main", "CI_API_V4_URL=https://git.example.net/api/v4", "CI_PROJECT_ID=1", "CI_MERGE_REQUEST_IID=7", "PLAN_TOKEN=secret")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c checkout) must(script string) string {
	c.t.Helper()
	out, err := c.sh(script)
	if err != nil {
		c.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

// addService is the change of the pull request.
func (c checkout) addService() {
	c.write(filepath.Join(c.dir, "fleet/services/blog.yaml"),
		"services: {blog: {vip: public, http: {hosts: [blog.example.net]}, backend: {port: 80}}}\n", 0o644)
	c.must("git add -A && git commit -q -m blog")
}

func (c checkout) wantPlan() {
	c.t.Helper()
	plan, err := os.ReadFile(filepath.Join(c.dir, "plan.md"))
	if err != nil || !strings.Contains(string(plan), "**added** service `blog`") || !strings.Contains(string(plan), "reload") {
		c.t.Errorf("plan.md: %v\n%s", err, plan)
	}
	if _, err := os.Stat(filepath.Join(c.dir, "commented")); err != nil {
		c.t.Error("the plan was not sent to the pull request")
	}
}

// TestTemplateOnGitHub runs every step of the workflow that runs something.
func TestTemplateOnGitHub(t *testing.T) {
	var workflow struct {
		Jobs map[string]struct{ Steps []struct{ Name, Run string } }
	}
	unmarshal(t, template+"/.github/workflows/fleet.yaml", &workflow)
	c := fromTemplate(t)
	c.addService()
	ran := 0
	for _, step := range workflow.Jobs["check"].Steps {
		if step.Run != "" {
			ran++
			c.must(step.Run)
		}
	}
	if ran < 5 {
		t.Errorf("%d steps ran, there should be more", ran)
	}
	c.wantPlan()
	var log struct{ Version string }
	data, err := os.ReadFile(filepath.Join(c.dir, "vipilot.sarif"))
	if err != nil || json.Unmarshal(data, &log) != nil || log.Version != "2.1.0" {
		t.Errorf("vipilot.sarif: %v\n%s", err, data)
	}
}

// TestTemplateOnGitLab runs what the pipeline runs.
func TestTemplateOnGitLab(t *testing.T) {
	var pipeline struct {
		Before   []string `yaml:"before_script"`
		Validate struct {
			Script []string
			After  []string `yaml:"after_script"`
		}
		Plan struct{ Script []string }
	}
	unmarshal(t, template+"/.gitlab-ci.yml", &pipeline)
	c := fromTemplate(t)
	c.addService()
	ran := 0
	for _, lines := range [][]string{pipeline.Before, pipeline.Validate.Script, pipeline.Validate.After, pipeline.Plan.Script} {
		for _, line := range lines {
			ran++
			c.must(line)
		}
	}
	if ran < 6 {
		t.Errorf("%d lines ran, there should be more", ran)
	}
	c.wantPlan()
}

// TestTemplateRefuses wants a fault beside its line, and a failed pipeline.
func TestTemplateRefuses(t *testing.T) {
	c := fromTemplate(t)
	c.write(filepath.Join(c.dir, "fleet/services/todo.yaml"), "services: {todo: {vip: publik, http: {}, backend: {port: 80}}}\n", 0o644)
	out, err := c.sh("ci/validate.sh github")
	if err == nil || !strings.Contains(out, "::error file=fleet/services/todo.yaml,line=1,") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := c.sh("ci/plan.sh nowhere"); err == nil || !strings.Contains(out, "no commit nowhere") {
		t.Errorf("%v\n%s", err, out)
	}
}

func unmarshal(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err == nil {
		err = yaml.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", name, err))
	}
}
