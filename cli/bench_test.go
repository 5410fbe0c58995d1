package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkValidate1000 checks 1,000 services for two nodes, without daemons,
// as the CI of a configuration repository does.
func BenchmarkValidate1000(b *testing.B) {
	var text strings.Builder
	text.WriteString("version: 1\nnodes: {lb1: {address: 10.77.0.21, interface: eth0}, lb2: {address: 10.77.0.22, interface: eth0}}\n" +
		"vips: {public: {addresses: [203.0.113.10]}}\nservices:\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "  s%04d:\n    vip: public\n    http: {hosts: [s%04[1]d.example.net], paths: [/, /api]}\n"+
			"    backend: {containers: {labels: {app: s%04[1]d}}, port: 8080, check: {path: /healthz}}\n", i, i)
	}
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "fleet.yaml"), []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	program := Program{Args: []string{"validate", "--no-daemons", dir}, Stdout: io.Discard, Stderr: os.Stderr, Getenv: func(string) string { return "" }}
	for b.Loop() {
		if code := Run(context.Background(), program); code != exitOK {
			b.Fatalf("exit code %d", code)
		}
	}
}
