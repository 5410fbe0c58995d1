package haproxy

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/vipilot/vipilot/internal/command"
)

// altSvcAge is how long a client may remember that HTTP/3 is offered: not
// longer than it takes to be rid of it when it is switched off.
const altSvcAge = 900

// writeQUIC writes the binds for HTTP/3 beside those for TCP. A QUIC
// connection ends with the worker that has it: after a reload clients come
// again.
func (f Frontend) writeQUIC(w *strings.Builder) {
	if !f.QUIC {
		return
	}
	for _, b := range f.Binds {
		family := "quic4@"
		if b.Address.Is6() {
			family = "quic6@"
		}
		fmt.Fprintf(w, "  bind %s%s transparent", family, targetOf(b.addrPort()))
		if b.Address.Is6() {
			w.WriteString(" v6only")
		}
		w.WriteString(strings.Replace(f.tlsKeywords(), " alpn h2,http/1.1 ", " alpn h3 ", 1) + "\n")
	}
}

// offersQUIC reports whether a frontend speaks HTTP/3.
func (c Config) offersQUIC() bool {
	for _, f := range c.Frontends {
		if f.QUIC {
			return true
		}
	}
	return false
}

// versionWords are in the first line of haproxy -vv.
var versionWords = regexp.MustCompile(`(?m)^HAProxy version (\S+)`)

// withoutQUIC says that files in dir ask for HTTP/3 and binary has none; nil
// otherwise. HAProxy's own words would speak of an address family.
func withoutQUIC(ctx context.Context, binary, dir string) error {
	cfg, err := os.ReadFile(filepath.Join(dir, ConfigFile))
	if err != nil || !bytes.Contains(cfg, []byte("\n  bind quic")) {
		return nil // a file that is missing is told of by HAProxy
	}
	says, err := command.Run(ctx, binary, "-vv")
	if err != nil || strings.Contains(says, " +QUIC ") {
		return err
	}
	version := "HAProxy"
	if m := versionWords.FindStringSubmatch(says); m != nil {
		version += " " + m[1]
	}
	return fmt.Errorf("http3 needs a HAProxy with QUIC (+QUIC in haproxy -vv), and %s has none: install one, such as Debian 13's, or leave http3 out", version)
}
