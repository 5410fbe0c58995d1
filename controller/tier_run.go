package controller

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/render"
	"github.com/vipilot/vipilot/routing/remote"
	"github.com/vipilot/vipilot/vrrp"
)

// becomeTier makes l the controller of a host's proxy: no VIP is held here, so
// there is neither keepalived nor sentinel.
func (l *loop) becomeTier() {
	l.in.Node, l.in.Tier = l.opts.Host, new(Tier)
	l.election, l.router, l.addresses = noElection{}, noRouter{}, noAddresses{}
	l.handing.connections = nil
}

// ours is a configuration that was loaded as this controller sees it.
func (l *loop) ours(cfg *config.Config, err error) (*config.Config, error) {
	if err != nil || cfg == nil || l.in.Tier == nil {
		return cfg, err
	}
	narrow, err := atHost(cfg, l.in.Node)
	if err != nil {
		return nil, err
	}
	if l.opts.Engine != nil {
		narrow.Hosts[0].Docker, narrow.Hosts[0].TLS = *l.opts.Engine, nil
	}
	return narrow, nil
}

// readCertificate reads the tier's certificate from the state directory, and
// makes one on the first start.
func (l *loop) readCertificate() error {
	if l.in.Tier == nil {
		return nil
	}
	name := filepath.Join(l.opts.StateDir, "tier.pem")
	certificate, err := os.ReadFile(name)
	if err == nil {
		_, err = tls.X509KeyPair(certificate, certificate)
	}
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			l.log.Warn("the tier's certificate cannot be used, a new one is made", "file", name, "err", err)
		}
		if certificate, err = newCertificate(l.in.Node); err == nil {
			_, err = render.WriteFile(name, certificate, 0o600)
		}
	}
	if err != nil {
		return fmt.Errorf("make the tier's certificate: %w", err)
	}
	l.in.Tier = &Tier{Certificate: certificate}
	return nil
}

// newCertificate makes a key and a certificate of its own for it. Nobody
// verifies it: a tier takes connections from nodes alone, and names need TLS.
func newCertificate(host string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "vipilot " + host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(30, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...), nil
}

// localHeader is a PROXY header, version 2, of a connection that its sender
// makes for itself: LOCAL, no address (HAProxy's proxy-protocol.txt, 2.2).
const localHeader = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"

// dial opens a connection to the endpoint: where it is in a tier, as far as the
// tier takes it for one that accepts connections.
func (p probe) dial(ctx context.Context) (net.Conn, error) {
	to, err := netip.ParseAddrPort(p.address)
	if err != nil {
		return nil, err
	}
	var from netip.AddrPort
	if p.via != "" && p.source.IsValid() {
		from = netip.AddrPortFrom(p.source, 0)
	}
	dialer := net.Dialer{KeepAlive: -1} // it lives for milliseconds
	conn, err := dialer.DialTCP(ctx, "tcp", from, to)
	if err != nil {
		return nil, err
	}
	if p.via == "" {
		return conn, nil
	}
	// The name is all that TLS is for: nothing secret is sent.
	inner := tls.Client(conn, &tls.Config{ServerName: p.via, InsecureSkipVerify: true})
	if _, err = io.WriteString(conn, localHeader); err == nil {
		err = inner.HandshakeContext(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return inner, nil
}

// The parts that a tier does not have.
type (
	noElection  struct{}
	noRouter    struct{}
	noAddresses struct{}
)

func (noElection) Set(context.Context, vrrp.Config) (bool, error) { return false, nil }
func (noElection) Run(ctx context.Context) error                  { <-ctx.Done(); return nil }
func (noElection) Balance() vrrp.Balance                          { return vrrp.Balance{} }
func (noElection) Balanced() <-chan struct{}                      { return nil }
func (noElection) Roles() <-chan vrrp.RoleChange                  { return nil }
func (noElection) Role(string) vrrp.Role                          { return "" }
func (noElection) Status() vrrp.Status                            { return vrrp.Status{} }
func (noElection) Close(context.Context) error                    { return nil }

func (noRouter) Set(context.Context, remote.Want) (bool, error) { return false, nil }
func (noRouter) Run(ctx context.Context) error                  { <-ctx.Done(); return nil }
func (noRouter) Changes() <-chan struct{}                       { return nil }
func (noRouter) State() (remote.State, bool)                    { return remote.State{}, false }
func (noRouter) Status() remote.Status                          { return remote.Status{} }
func (noRouter) Replace(context.Context) error                  { return nil }
func (noRouter) Close(context.Context) error                    { return nil }

func (noAddresses) Set(context.Context, []netip.Addr) (bool, error) { return false, nil }
func (noAddresses) Close() error                                    { return nil }

// RenderTier gives the files that the proxy of host would run, as [Render]
// does for a node. Its certificate is made for the occasion.
func RenderTier(cfg *config.Config, host string, given Given, runDir string) (map[string][]byte, error) {
	certificate, err := newCertificate(host)
	if err != nil {
		return nil, err
	}
	if cfg, err = atHost(cfg, host); err != nil {
		return nil, err
	}
	plan := new(planner)
	want, err := plan.desire(Input{Node: host, Tier: &Tier{Certificate: certificate}, Config: cfg})
	if err != nil {
		return nil, err
	}
	if err := want.give(cfg, host, given); err != nil {
		return nil, err
	}
	files, err := haproxy.Render(plan.wantTier(&want), haproxy.Paths{Dir: filepath.Join(runDir, "haproxy")})
	return files, err
}

// askForTier gives what the proxy of host would run to HAProxy's parser.
func askForTier(ctx context.Context, cfg *config.Config, host string) (Remark, error) {
	remark := Remark{Host: host, Daemon: "haproxy"}
	dir, err := os.MkdirTemp("", "vipilot-validate-")
	if err != nil {
		return remark, fmt.Errorf("make directory: %w", err)
	}
	files, err := RenderTier(cfg, host, nil, dir)
	if err == nil {
		err = WriteFiles(dir, files)
	}
	if err == nil {
		remark.ask(ctx, dir)
	}
	return remark, errors.Join(err, os.RemoveAll(dir))
}
