package status

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// FuzzWebhook wants no request taken for genuine that does not hold the secret.
func FuzzWebhook(f *testing.F) {
	f.Add("sha256=00", "", "v1,AAAA", "msg_1", "1763712000", []byte("{}"))
	f.Add("", "wrong", "", "", "", []byte(nil))
	f.Add("sha256=", "", "v1,", ".", "-1", []byte("x"))
	f.Add("", "", " v1a,x v1,!! ,", "", "99999999999999999999", []byte("x"))
	const secret = "whsec_aGFyZCB0byBndWVzcw=="
	f.Fuzz(func(t *testing.T, hub, gitlab, list, id, stamp string, body []byte) {
		h := &hooks{secret: secret, now: func() time.Time { return time.Unix(1763712000, 0) }}
		r := httptest.NewRequest("POST", "/v1/sync", bytes.NewReader(body))
		for name, value := range map[string]string{"X-Hub-Signature-256": hub, "X-Gitlab-Token": gitlab, "Webhook-Signature": list, "Webhook-Id": id, "Webhook-Timestamp": stamp} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		if isHook(r) && h.check(r, r.Body) == nil && gitlab != secret {
			t.Errorf("taken for genuine: %v", r.Header)
		}
	})
}

// FuzzReport shows any report, as another node or an older program may have
// sent it: as page, text and metrics, without markup of its own.
func FuzzReport(f *testing.F) {
	whole, err := json.Marshal(example(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte(`{"node":"<xss>","services":{"<xss>":{"vip":"x","endpoints":[{"name":"a/b","state":"?","address":"x"}]}},"vips":{"":{}},"hosts":{"":{}},"nodes":{"x":{}}}`))
	f.Add([]byte(`{"components":{"speaker":{"peers":{"edge":{}}}},"config":{"pending":"x","error":""}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := new(Report)
		if json.Unmarshal(data, r) != nil {
			return
		}
		s := NewServer(ServerOptions{Board: boardWith(r)})
		for _, path := range []string{"/", "/v1/status", "/v1/node", "/metrics", "/readyz", "/services/x"} {
			w := httptest.NewRecorder()
			s.handler(false, nil).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			if w.Code == http.StatusInternalServerError {
				t.Errorf("%s: %s", path, w.Body)
			}
			if strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") && strings.Contains(w.Body.String(), "<xss>") {
				t.Errorf("%s has markup of the report", path)
			}
		}
	})
}
