package controller

import (
	"strings"

	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/status"
)

// certificateMemory spares every report from parsing what has not changed.
type certificateMemory struct {
	frontends []haproxy.Frontend
	told      map[string]status.Certificate
}

// reportCertificates are the certificates that this node serves, by name.
func (l *loop) reportCertificates() map[string]status.Certificate {
	known, frontends := &l.report.certificates, l.applied.want.HAProxy.Frontends
	same := len(known.frontends) == len(frontends) && (len(frontends) == 0 || &known.frontends[0] == &frontends[0])
	if !same || known.told == nil {
		known.frontends, known.told = frontends, make(map[string]status.Certificate)
		for _, f := range frontends {
			for _, c := range f.Certificates {
				if leaf := leafOf(c.PEM); leaf != nil {
					known.told[c.Name] = status.Certificate{Names: leaf.DNSNames, NotAfter: leaf.NotAfter}
				}
			}
		}
	}
	if len(l.issued) == 0 {
		return known.told
	}
	told := make(map[string]status.Certificate, len(known.told))
	for name, c := range known.told {
		told[name] = c
	}
	for key, c := range l.issued {
		one, served := told[obtainedName(key.Issuer, key.Host)]
		if !served {
			continue
		}
		one.Temporary, one.Failures = c.Temporary, c.Failures
		if c.Err != nil {
			one.Error = strings.Join(strings.Fields(c.Err.Error()), " ")
		}
		told[obtainedName(key.Issuer, key.Host)] = one
	}
	return told
}
