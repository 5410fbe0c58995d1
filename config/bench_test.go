package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/config"
)

// BenchmarkLoad reads 1,000 services.
func BenchmarkLoad(b *testing.B) {
	var text strings.Builder
	text.WriteString("version: 1\nnodes: {lb1: {address: 10.77.0.21, interface: eth0}}\nvips: {public: {addresses: [203.0.113.10]}}\nservices:\n")
	for i := range 1000 {
		fmt.Fprintf(&text, `  s%04d:
    vip: public
    http: {hosts: [s%04d.example.net, "*.s%04d.example.net"], paths: [/, /api]}
    backend:
      containers: {labels: {app: s%04d}}
      port: 8080
      balance: leastconn
      check: {path: /healthz, interval: 1s, rise: 2, fall: 3}
      drain: 30s
`, i, i, i, i)
	}
	files := config.Tree{"fleet.yaml": []byte(text.String())}
	for b.Loop() {
		cfg, err := config.Load(files)
		if err != nil || len(cfg.Services) != 1000 {
			b.Fatal(err)
		}
	}
}
