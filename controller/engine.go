package controller

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/discovery/docker"
)

// dockerSource makes watchers of Docker engines.
func dockerSource(log *slog.Logger) newSource {
	return func(host config.Host, last discovery.Snapshot) (discovery.Source, error) {
		opts := docker.Options{Host: host.Name, URL: host.Docker.String(), Logger: log,
			Remembered: last.Containers, Swarm: host.Swarm, RememberedSwarm: last.Swarm}
		if host.TLS != nil {
			tlsConfig, err := clientTLS(*host.TLS)
			if err != nil {
				return nil, fmt.Errorf("host %s: %w", host.Name, err)
			}
			opts.TLS = tlsConfig
		}
		return docker.New(opts)
	}
}

func clientTLS(c config.ClientTLS) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(c.CA) > 0 {
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(c.CA) {
			return nil, errors.New("tls.ca_file holds no certificate")
		}
	}
	if len(c.Cert) > 0 {
		pair, err := tls.X509KeyPair(c.Cert, []byte(c.Key.Reveal()))
		if err != nil {
			return nil, fmt.Errorf("tls.cert_file and tls.key_file: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}
