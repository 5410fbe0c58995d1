package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vipilot/vipilot/config"
)

// fixtures are the files that configurations in testdata point at.
var fixtures = sync.OnceValue(func() config.Tree {
	day := 24 * time.Hour
	todo, todoKey := certificate(day, "todo.example.net", "*.todo.example.net", "xn--tda-snab.example.net")
	old, oldKey := certificate(-day, "todo.example.net")
	other, otherKey := certificate(day, "other.example.net")
	early, earlyKey := certificate(day, "todo.example.net", "tomorrow")
	return config.Tree{
		"certs/todo.pem":     append(todo, todoKey...),
		"certs/expired.pem":  append(old, oldKey...),
		"certs/other.pem":    append(other, otherKey...),
		"certs/mismatch.pem": append(todo[:len(todo):len(todo)], otherKey...),
		"certs/early.pem":    append(early, earlyKey...),
		"certs/broken.pem":   slices.Concat(todo, other, todoKey),
		"certs/d/one.pem":    append(todo, todoKey...),
		"certs/d/two.pem":    append(other, otherKey...),
		"certs/d/README":     []byte("not a certificate"),
		"certs/ca.pem":       other,
		"docker/ca.pem":      other,
		"docker/cert.pem":    todo,
		"docker/key.pem":     todoKey,
		"secrets/vrrp":       []byte("hunter2\n"),
		"secrets/long":       []byte("hunter2hunter2\n"),
		"secrets/quoted":     []byte("hun\"r2\n"),
		"secrets/spaces":     []byte("a b\n"),
		"secrets/bgp":        []byte("a{b}c!\"#\r\n"),
		"secrets/empty":      {},
		"users/good":         []byte("# staff\nzoe:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\r\njoe:$6$saltsalt$" + strings.Repeat("a", 86) + "\n"),
		"users/none":         []byte("# nobody\n"),
		"users/bad": []byte("joe:$apr1$abcdefgh$hunter2\nann:{SHA}hunter2=\nbob:hunter2\nmax:$6$rounds=5000000$saltsalt$" + strings.Repeat("a", 86) +
			"\nzoe:$2y$12$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\njoe:x\na b:c\nno colon here\n"),
		"pages/ok.html":    []byte("<p>%[src] ${HOME}</p>\n"),
		"pages/large.html": make([]byte, 16<<10),
	}
})

// certificate makes a certificate that ends so long from now, and its key.
func certificate(ends time.Duration, names ...string) (chain, key []byte) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: names[0]},
		NotBefore:    time.Now().Add(-48 * time.Hour),
		NotAfter:     time.Now().Add(ends),
		DNSNames:     names,
	}
	if slices.Contains(names, "tomorrow") {
		template.NotBefore = time.Now().Add(12 * time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		panic(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// with gives the fixtures and the files, as pairs of name and text.
func with(pairs ...string) config.Tree {
	tree := maps.Clone(fixtures())
	for i := 0; i < len(pairs); i += 2 {
		tree[pairs[i]] = []byte(pairs[i+1])
	}
	return tree
}

// testdata reads a file of testdata beside the fixtures.
func testdata(t testing.TB, name string) config.Tree {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return with(name, string(data))
}
