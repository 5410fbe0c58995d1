package haproxy

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vipilot/vipilot/internal/command"
)

// fetchOCSP is the option of a certificate in a list that has HAProxy ask for
// its OCSP response, again and again before it expires.
const fetchOCSP = "ocsp-update on"

// ocspFile is where HAProxy looks for the response, by itself. One that has
// expired, or is another certificate's, it leaves aside with a warning.
func (c Certificate) ocspFile() string { return c.file() + ".ocsp" }

// setCertificate replaces a certificate and, where there is a new one, its OCSP
// response in one step.
func (c *cli) setCertificate(ctx context.Context, cert Certificate) error {
	if err := c.load(ctx, "cert", cert.file(), pemLines(cert.PEM)); err != nil {
		return err
	}
	return c.setOCSP(ctx, cert)
}

// setOCSP replaces the OCSP response of a certificate, if there is a new one,
// and ends the transaction.
func (c *cli) setOCSP(ctx context.Context, cert Certificate) error {
	if len(cert.OCSP) > 0 {
		if err := c.load(ctx, "cert", cert.ocspFile(), base64.StdEncoding.EncodeToString(cert.OCSP)); err != nil {
			_, _ = c.ask(ctx, "abort ssl cert "+cert.file())
			return err
		}
	}
	return c.commit(ctx, "cert", cert.file())
}

// withoutOCSP says that files in dir have HAProxy fetch OCSP responses and
// binary cannot; nil otherwise. HAProxy's own words would speak of a keyword.
func withoutOCSP(ctx context.Context, binary, dir string) error {
	lists, err := filepath.Glob(filepath.Join(dir, "certs", "*.list"))
	if err != nil {
		return err
	}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil || !bytes.Contains(text, []byte(fetchOCSP)) {
			continue // a file that is missing is told of by HAProxy
		}
		says, err := command.Run(ctx, binary, "-vv")
		m := versionWords.FindStringSubmatch(says)
		if err != nil || m == nil || !older(m[1], 2, 8) {
			return err
		}
		return fmt.Errorf("tls.ocsp needs HAProxy 2.8, and this is %s: install a newer one, such as Debian 13's, or leave ocsp out and put the responses beside the certificates", m[1])
	}
	return nil
}

// older reports whether a version such as 2.6.12-1+deb12u4 is below major.minor.
func older(version string, major, minor int) bool {
	first, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	second, _, _ = strings.Cut(second, "-")
	a, err1 := strconv.Atoi(first)
	b, err2 := strconv.Atoi(second)
	return err1 == nil && err2 == nil && (a < major || a == major && b < minor)
}
