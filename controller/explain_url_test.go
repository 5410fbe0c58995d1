package controller

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/status"
)

// lookUp is what HAProxy does with its map: of the keys made from the host,
// the host as a wildcard and every host, the longest that begins the request
// wins, the first at equal length.
func lookUp(f haproxy.Frontend, host, path string) string {
	keys := make(map[string]string)
	for _, r := range f.Routes {
		keys[cmp.Or(r.Host, "*")+strings.TrimRight(r.Path, "/")+"/"] = r.Backend
	}
	wildcard := "*"
	if i := strings.IndexByte(host, '.'); i >= 0 {
		wildcard += host[i:]
	}
	best, length := "", 0
	for _, name := range []string{host, wildcard, "*"} {
		longest := ""
		for key := range keys {
			if strings.HasPrefix(name+path+"/", key) && len(key) > len(longest) {
				longest = key
			}
		}
		if n := len(longest) - len(name); longest != "" && n > length {
			best, length = keys[longest], n
		}
	}
	return best
}

// What explain says of routes is what HAProxy's map does.
func TestJudgeIsHAProxysLookup(t *testing.T) {
	random := mathrand.New(mathrand.NewPCG(5, 6))
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	hosts := []string{"", "a.test", "b.test", "*.test", "x.a.test", "*.a.test", "test"}
	paths := []string{"/", "/a", "/a/b", "/ab", "/a/b/", "/b"}
	for range 50_000 {
		f := haproxy.Frontend{Mode: haproxy.HTTP}
		seen := make(map[string]bool)
		for i := range random.IntN(7) {
			r := haproxy.Route{Host: pick(hosts...), Path: pick(paths...), Backend: fmt.Sprint("s", i)}
			if key := r.Host + strings.TrimRight(r.Path, "/"); !seen[key] { // the configuration allows each once
				seen[key] = true
				f.Routes = append(f.Routes, r)
			}
		}
		host := pick("a.test", "b.test", "c.test", "x.a.test", "y.a.test", "test", "x.y.a.test", "localhost")
		path := pick("/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/abc", "//a", "/c")
		got := ""
		if rules := judge(f, host, path); len(rules) > 0 && rules[0].fits() {
			got = rules[0].Backend
		}
		if want := lookUp(f, host, path); got != want {
			t.Fatalf("%s%s among %+v: %q, HAProxy says %q", host, path, f.Routes, got, want)
		}
	}
}

func certificate(t *testing.T, until time.Time, names ...string) []byte {
	t.Helper()
	return certificateWith(t, func(template *x509.Certificate) { template.NotAfter, template.DNSNames = until, names })
}

func certificateWith(t *testing.T, change func(*x509.Certificate)) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	change(template)
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	out := new(bytes.Buffer)
	_ = pem.Encode(out, &pem.Block{Type: "PRIVATE KEY", Bytes: private}) // the order in the file is free
	_ = pem.Encode(out, &pem.Block{Type: "CERTIFICATE", Bytes: cert})
	return out.Bytes()
}

func TestExplainTLS(t *testing.T) {
	yaml := strings.Replace(pair, "http: {hosts: [shop.example.net]}", "http: {hosts: [shop.example.net], tls: {port: 443, certificate_file: shop.pem, redirect: true}}", 1)
	cfg, err := config.Load(config.Tree{"vipilot.yaml": []byte(yaml), "shop.pem": certificate(t, time.Now().Add(time.Hour), "shop.example.net")})
	if err != nil {
		t.Fatal(err)
	}
	shop := web(1, "vipilot.service", "shop")
	shop.Published[0].Port = 80
	s := stage(t, pair, snapshot("app1", shop), snapshot("app2"))
	s.loop.in.Config = cfg
	s.round()
	for _, test := range []struct{ url, verdict, steps, words string }{
		{"https://shop.example.net/", "gets traffic", "dns- vip+ announce+ frontend+ tls+ rule+ service+ endpoints+", "covers shop.example.net"},
		{"http://shop.example.net/", "gets traffic", "dns- vip+ announce+ frontend+ rule+ tls+ rule+ service+ endpoints+", "is redirected to https, port 443"},
		{"http://shop.example.net:443/", "gets no traffic", "dns- vip+ announce+ frontendx tls+ rule+ service+ endpoints+", "plain HTTP"},
		{"https://todo.example.net:80/", "gets no traffic", "dns- vip+ announce+ frontendx rule+ service+ endpointsx", "use http://"},
		{"https://todo.example.net/", "gets no traffic", "dns- vip+ announce+ frontend+ tls! rulex", "they cover shop.example.net"},
		{"shop.example.net", "gets traffic", "dns- vip+ announce+ frontend+ tls+ rule+ service+ endpoints+", ""},
	} {
		a := s.ask(test.url)
		var steps []string
		all := a.Reason + a.Next
		for _, one := range a.Steps {
			steps = append(steps, one.Step+map[status.Verdict]string{status.OK: "+", status.Fail: "x", status.Warn: "!", status.Skip: "-"}[one.Verdict])
			all += one.Text
		}
		if got := strings.Join(steps, " "); a.Verdict != test.verdict || got != test.steps || !strings.Contains(all, test.words) {
			t.Errorf("%s %s (%s)\n%s, want\n%s\n%s", test.url, a.Verdict, a.Reason, got, test.steps, all)
		}
	}
}
