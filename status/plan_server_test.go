package status

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestServePlan(t *testing.T) {
	s := NewServer(ServerOptions{Board: NewBoard(), Token: "secret", Plan: func(_ context.Context, r PlanRequest) (Plan, error) {
		if string(r.Files["bad.yaml"]) != "" {
			return Plan{}, fmt.Errorf("%w configuration: bad.yaml:1:1: oh", ErrInvalid)
		}
		return Plan{To: string(r.Files["vipilot.yaml"]), Asked: r.Node, Changed: r.Diff}, nil
	}})
	request := func(files map[string][]byte) string {
		body, err := json.Marshal(PlanRequest{Files: files, Node: "lb1", Diff: true})
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	good := request(map[string][]byte{"vipilot.yaml": []byte("version: 1")})
	for name, c := range map[string]struct {
		trusted bool
		token   string
		body    string
		code    int
		want    string
	}{
		"over the socket":  {true, "", good, 200, `"to":"version: 1"`},
		"with the token":   {false, "secret", good, 200, `"asked":"lb1"`},
		"without a token":  {false, "", good, 401, "a valid token is needed"},
		"faults":           {true, "", request(map[string][]byte{"bad.yaml": []byte("x")}), 422, "invalid configuration: bad.yaml:1:1: oh"},
		"not JSON":         {true, "", "version: 1", 400, "read the configuration to plan"},
		"a large one":      {true, "", request(map[string][]byte{"vipilot.yaml": make([]byte, 4<<20)}), 200, `"changed":true`},
		"files of no text": {true, "", `{"files": 7}`, 400, "read the configuration to plan"},
	} {
		r := httptest.NewRequest("POST", "/v1/plan", strings.NewReader(c.body))
		r.Header.Set("Authorization", "Bearer "+c.token)
		answer := ask(s, c.trusted, r)
		if text := body(t, answer); answer.StatusCode != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %.200s, want %d %s", name, answer.StatusCode, text, c.code, c.want)
		}
	}
	r := httptest.NewRequest("POST", "/v1/plan", strings.NewReader(good))
	if answer := ask(NewServer(ServerOptions{Board: NewBoard()}), true, r); answer.StatusCode != 501 {
		t.Errorf("without a planner: %d", answer.StatusCode)
	}
}
