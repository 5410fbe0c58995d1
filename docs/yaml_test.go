package docs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"path"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/vipilot/vipilot/config"
)

// base is the configuration that fragments in the documentation belong to. A
// fragment says something else of a name, or declares another one.
const base = `version: 1
nodes: {lb1: {address: 10.77.0.21, interface: eth0}, lb2: {address: 10.77.0.22, interface: eth0}}
hosts: {app1: {docker: "ssh://vipilot@10.77.0.111"}, app2: {docker: "ssh://vipilot@10.77.0.112"}}
vips: {public: {addresses: [203.0.113.10]}, intra: {addresses: [10.77.0.101]}}
services: {todo: {vip: public, http: {hosts: [todo.example.net]}, backend: {containers: {labels: {app: todo}}, port: 8080}}}
`

var (
	yamlBlock = regexp.MustCompile("(?ms)^(?:<!-- in: ([a-z0-9._-]+) -->\n+)?( *)```yaml\n(.*?)^ *```$")
	// An indented block that begins with a section of a configuration.
	unfenced = regexp.MustCompile(`(?m)\n\n(    (?:version|nodes|hosts|networks|guard|vips|services|routing|haproxy|acme|backend|http|tls):(?: .*)?\n)`)
)

// TestYAML loads every YAML block: a whole configuration, which declares a
// version, or a fragment, which is put into base, at the place that the
// comment <!-- in: services.todo --> before it names.
func TestYAML(t *testing.T) {
	blocks := 0
	for _, p := range pages(t) {
		if path.Dir(p.name) == "docs/decisions" {
			continue // what was chosen among
		}
		outside := fence.ReplaceAllStringFunc(p.text, func(s string) string { return strings.Repeat("\n", strings.Count(s, "\n")) })
		for _, m := range unfenced.FindAllStringSubmatchIndex(outside, -1) {
			t.Errorf("%s:%d: fence this YAML with ```yaml, so that it is loaded by a test", p.name, strings.Count(outside[:m[2]], "\n")+1)
		}
		for _, m := range yamlBlock.FindAllStringSubmatchIndex(p.text, -1) {
			blocks++
			place, indent, text := "", p.text[m[4]:m[5]], p.text[m[6]:m[7]]
			if m[2] >= 0 {
				place = p.text[m[2]:m[3]]
			}
			if indent != "" {
				text = regexp.MustCompile("(?m)^"+indent).ReplaceAllString(text, "")
			}
			if err := loads(place, text); err != nil {
				t.Errorf("%s: %v", p.line(m[0]), err)
			}
		}
	}
	if blocks < 15 {
		t.Errorf("%d blocks, there should be more", blocks)
	}
}

// loads loads a block, with files for all that it names.
func loads(place, text string) error {
	var fragment, whole map[string]any
	if err := yaml.Unmarshal([]byte(text), &fragment); err != nil {
		return err
	}
	data := []byte(text)
	if _, ok := fragment["version"]; !ok || place != "" {
		if err := yaml.Unmarshal([]byte(base), &whole); err != nil {
			return err
		}
		into := whole
		for name := range strings.FieldsFuncSeq(place, func(r rune) bool { return r == '.' }) {
			below, _ := into[name].(map[string]any)
			if below == nil {
				below = make(map[string]any)
				into[name] = below
			}
			into = below
		}
		put(into, fragment, place == "")
		var err error
		if data, err = yaml.Marshal(whole); err != nil {
			return err
		}
	}
	tree := config.Tree{"all.yaml": data}
	files := named.FindAllStringSubmatch(string(data), -1)
	for _, dir := range inDir.FindAllStringSubmatch(string(data), -1) {
		files = append(files, []string{"", dir[1] + "/one.pem"})
	}
	for _, file := range files {
		held, err := content(file[1])
		if err != nil {
			return err
		}
		tree[path.Clean(file[1])] = held
	}
	_, err := config.Load(tree)
	return err
}

// put adds a fragment. A section of names has the fragment's names replaced, any
// other place is merged.
func put(into, fragment map[string]any, sections bool) {
	for key, value := range fragment {
		names, ok1 := into[key].(map[string]any)
		more, ok2 := value.(map[string]any)
		if !ok1 || !ok2 {
			into[key] = value
			continue
		}
		for name, thing := range more {
			old, ok1 := names[name].(map[string]any)
			young, ok2 := thing.(map[string]any)
			if !sections && ok1 && ok2 {
				put(old, young, false)
			} else {
				names[name] = thing
			}
		}
	}
}

// named finds the files that a configuration points at, inDir the directories of them.
var inDir = regexp.MustCompile(`certificates_dir: "?([\w/.-]+)`)
var named = regexp.MustCompile(`(?:_file: |"?[0-9]{3}"?: )"?([\w/.-]+\.?[\w-]*)`)

// content is what a file of this name could hold.
func content(name string) ([]byte, error) {
	switch {
	case path.Ext(name) == ".pem":
		return certificate()
	case path.Ext(name) == ".html":
		return []byte("<p>later</p>\n"), nil
	case strings.Contains(name, "users"):
		return []byte("joe:$6$saltsalt$" + strings.Repeat("a", 86) + "\n"), nil
	}
	return []byte("hunter2\n"), nil
}

// certificate is one for the names that the documentation uses, with its key.
var certificate = sync.OnceValues(func() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "docs"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"example.net", "*.example.net", "*.todo.example.net", "*.preview.example.net"},
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...), nil
})
