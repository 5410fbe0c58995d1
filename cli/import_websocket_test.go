package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/config"
)

const websockets = `defaults
  mode http
frontend web
  bind 203.0.113.10:80
  http-response set-header Strict-Transport-Security "max-age=31536000; includeSubDomains"
  acl is_ws hdr(Upgrade) -i WebSocket
  acl is_ws_url path_beg -i /ws
  use_backend ws if is_ws is_ws_url
  use_backend other if is_ws
  default_backend app
frontend secure
  bind 203.0.113.10:443 ssl
  http-response set-header Strict-Transport-Security "max-age=31536000; includeSubDomains"
  acl shop hdr(host) -i shop.example.net
  use_backend ws if shop { hdr(Upgrade) -i websocket }
backend ws
  server a 10.77.0.60:80 check
backend other
  server a 10.77.0.61:80 check
backend app
  server a 10.77.0.62:80 check
`

// What goes to a backend of its own when it is upgraded goes there by the rest
// of its rule; a rule of nothing else is said. HSTS is that of the services.
func TestImportWebSocket(t *testing.T) {
	dir := t.TempDir()
	name, out := filepath.Join(dir, "haproxy.cfg"), filepath.Join(dir, "fleet")
	if err := os.WriteFile(name, []byte(websockets), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, said := runImport(t, "haproxy", "--haproxy", name, "--node", "lb1=10.77.0.21", "-o", out)
	if code != exitOK || !strings.Contains(said, ":9: use_backend other if is_ws: looks at nothing but whether the connection is upgraded") {
		t.Fatalf("exit %d: %s", code, said)
	}
	cfg, err := config.Load(config.Dir(out))
	if err != nil {
		t.Fatal(err)
	}
	secure := 0
	for _, s := range cfg.Services {
		if s.HTTP.TLS != nil {
			secure++
		}
		switch {
		case s.HTTP.TLS != nil && s.HTTP.TLS.HSTS.Hours() != 8760:
			t.Errorf("%s: hsts is %s", s.Name, s.HTTP.TLS.HSTS)
		case s.Name == "ws" && (len(s.HTTP.Headers) > 0 || len(s.HTTP.Paths) != 1 || s.HTTP.Paths[0] != "/ws"):
			t.Errorf("ws: %+v", s.HTTP)
		case s.Name == "other":
			t.Error("a rule that looks at nothing but Upgrade takes everything")
		}
	}
	if secure != 1 || len(cfg.Services) != 3 {
		t.Errorf("%d services, %d with TLS", len(cfg.Services), secure)
	}
	text, err := os.ReadFile(filepath.Join(out, "services.yaml"))
	if err != nil || !strings.Contains(string(text), "(WebSocket) came here") {
		t.Errorf("%v:\n%s", err, text)
	}
}
