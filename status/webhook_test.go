package status

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

func sign(key []byte, text string) []byte {
	sum := hmac.New(sha256.New, key)
	sum.Write([]byte(text))
	return sum.Sum(nil)
}

func TestWebhooks(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	const payload, raw = `{"ref":"refs/heads/main"}`, "It's a Secret to Everybody"
	key := []byte("0123456789abcdef0123456789abcdef")
	encoded := "whsec_" + base64.StdEncoding.EncodeToString(key)
	standard := func(key []byte, at time.Time, more string) map[string]string {
		stamp := strconv.FormatInt(at.Unix(), 10)
		return map[string]string{"Webhook-Id": "msg_1", "Webhook-Timestamp": stamp,
			"Webhook-Signature": more + "v1," + base64.StdEncoding.EncodeToString(sign(key, "msg_1."+stamp+"."+payload))}
	}
	hub := func(key, text string) map[string]string {
		return map[string]string{"X-Hub-Signature-256": "sha256=" + hex.EncodeToString(sign([]byte(key), text))}
	}
	for name, c := range map[string]struct {
		secret string
		header map[string]string
		code   int
	}{
		"github":                  {raw, hub(raw, payload), 202},
		"github, other secret":    {raw, hub("guess", payload), 401},
		"github, other body":      {raw, hub(raw, payload+" "), 401},
		"github, not hex":         {raw, map[string]string{"X-Hub-Signature-256": "sha256=zz"}, 401},
		"github, empty":           {raw, map[string]string{"X-Hub-Signature-256": "sha256="}, 401},
		"no secret here":          {"", hub("", payload), 403},
		"gitlab token":            {raw, map[string]string{"X-Gitlab-Token": raw}, 202},
		"gitlab, other token":     {raw, map[string]string{"X-Gitlab-Token": "guess"}, 401},
		"signed":                  {encoded, standard(key, now, ""), 202},
		"signed with text":        {raw, standard([]byte(raw), now, ""), 202},
		"signed, keys in change":  {encoded, standard(key, now, "v1,AAAA v1a,x "), 202},
		"signed, other key":       {encoded, standard([]byte(raw), now, ""), 401},
		"signed, replayed":        {encoded, standard(key, now.Add(-time.Hour), ""), 401},
		"signed, from the future": {encoded, standard(key, now.Add(time.Hour), ""), 401},
		"signed, nothing in it":   {encoded, map[string]string{"Webhook-Signature": "v2,x", "X-Gitlab-Token": "guess"}, 401},
		"not signed":              {raw, nil, 403},
	} {
		pokes := 0
		s := NewServer(ServerOptions{Board: NewBoard(), WebhookSecret: c.secret, Poke: func() { pokes++ }})
		s.hooks.now = func() time.Time { return now }
		r := httptest.NewRequest("POST", "/v1/sync", strings.NewReader(payload))
		for key, value := range c.header {
			r.Header.Set(key, value)
		}
		answer := ask(s, false, r)
		text := body(t, answer)
		if answer.StatusCode != c.code || pokes != map[bool]int{true: 1, false: 0}[c.code == 202] {
			t.Errorf("%s: %d %s, %d pokes; want %d", name, answer.StatusCode, text, pokes, c.code)
		}
		if strings.Contains(text, raw) {
			t.Errorf("%s: the secret is in %s", name, text)
		}
	}
}

// TestWebhookRate lets a burst through, then one a second, right or wrong.
func TestWebhookRate(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := NewServer(ServerOptions{Board: NewBoard(), WebhookSecret: "s", Poke: func() {}})
	s.hooks.now = func() time.Time { return now }
	post := func(token string) int {
		r := httptest.NewRequest("POST", "/v1/sync", strings.NewReader("{}"))
		r.Header.Set("X-Gitlab-Token", token)
		return ask(s, false, r).StatusCode
	}
	for i := range hookBurst {
		if got := post("guess"); got != http.StatusUnauthorized {
			t.Fatalf("hook %d: %d", i, got)
		}
	}
	if got := post("s"); got != http.StatusTooManyRequests {
		t.Errorf("after the burst: %d", got)
	}
	now = now.Add(hookEvery)
	if got := post("s"); got != http.StatusAccepted {
		t.Errorf("a second later: %d", got)
	}
}
