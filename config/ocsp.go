package config

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"path"
	"time"

	"golang.org/x/crypto/ocsp"
)

// maxOCSP is the longest OCSP response that HAProxy takes at run time.
const maxOCSP = 8 << 10

// stapled reads the OCSP response (RFC 6960) that lies beside a certificate, in
// file.ocsp: nil where there is none. One that is of no use now is warned about
// and left out: it must neither keep a new certificate waiting nor, when it
// grows old, every other change.
func (v value) stapled(file string, chain [][]byte) []byte {
	file += ".ocsp"
	data, err := v.l.readFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if path.IsAbs(file) { // not below what is watched anyhow
			v.l.dirs = append(v.l.dirs, file)
		}
		return nil
	}
	if err != nil {
		v.warnf("cannot read %s: %v", quote(file), err)
		return nil
	}
	if why, hint := staleResponse(data, chain); why != "" {
		v.warnf("%s is not used: %s", quote(file), why).Hint = hint
		return nil
	}
	return data
}

// staleResponse says why an OCSP response is of no use for a chain, "" when it is.
func staleResponse(data []byte, chain [][]byte) (why, hint string) {
	const anew = "have it fetched again (openssl ocsp -respout, or the tool that renews the certificate)"
	if len(data) > maxOCSP {
		return "it is longer than 8 KiB", "it is the response alone, in DER"
	}
	if len(chain) < 2 {
		return "the certificate's file does not hold the one that signed it", "put the chain into the file, the certificate first"
	}
	leaf, err1 := x509.ParseCertificate(chain[0])
	issuer, err2 := x509.ParseCertificate(chain[1])
	if err1 != nil || err2 != nil {
		return "the chain cannot be read", ""
	}
	r, err := ocsp.ParseResponseForCert(data, leaf, issuer)
	switch {
	case err != nil:
		return "it is no OCSP response, in DER, for this certificate: " + err.Error(), anew
	case !r.NextUpdate.IsZero() && time.Now().After(r.NextUpdate):
		return "it was valid until " + r.NextUpdate.Format(time.RFC3339), anew
	}
	return "", ""
}
