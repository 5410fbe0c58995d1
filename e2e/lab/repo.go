package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// RepoDir is the configuration repository that every node reads.
func (l *Lab) RepoDir() string { return filepath.Join(l.Dir, "repo") }

// UpdateConfig writes files of the repository, each in one step, and removes
// those whose content is empty. Others stay.
func (l *Lab) UpdateConfig(files map[string]string) error {
	for name, content := range files {
		target := filepath.Join(l.RepoDir(), name)
		if content == "" {
			if err := os.Remove(target); err != nil && !os.IsNotExist(err) {
				return fmt.Errorf("update the repository: %w", err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return fmt.Errorf("update the repository: %w", err)
		}
		hidden := filepath.Join(filepath.Dir(target), "."+filepath.Base(target)+".new")
		if err := os.WriteFile(hidden, []byte(content), 0o600); err != nil {
			return fmt.Errorf("update the repository: %w", err)
		}
		if err := os.Rename(hidden, target); err != nil {
			return fmt.Errorf("update the repository: %w", err)
		}
	}
	return nil
}

// WriteConfig replaces the whole repository, except for the certificates.
func (l *Lab) WriteConfig(files map[string]string) error {
	old, err := filepath.Glob(l.RepoDir() + "/*.yaml")
	if err != nil {
		return err
	}
	all := make(map[string]string)
	for _, name := range old {
		all[filepath.Base(name)] = ""
	}
	for name, content := range files {
		all[name] = content
	}
	return l.UpdateConfig(all)
}

// Declare replaces the whole repository by the lab's fleet and these services.
func (l *Lab) Declare(services string) error {
	files := l.FleetConfig()
	files["services.yaml"] = services
	return l.WriteConfig(files)
}

// FleetConfig is the lab's fleet in vipilot's words: fleet.yaml with nodes,
// hosts, VIPs and routing. Services are the caller's.
func (l *Lab) FleetConfig() map[string]string {
	files := map[string]string{"fleet.yaml": fleet}
	peer := ""
	if l.opts.BGPPassword != "" {
		files["secrets/bgp"] = l.opts.BGPPassword + "\n"
		peer += ", password_file: secrets/bgp"
	}
	if l.opts.TTLSecurity {
		peer += ", ttl_security: true"
	}
	files["fleet.yaml"] = strings.ReplaceAll(fleet, "PEER_OPTIONS", peer)
	return files
}

const fleet = `version: 1
nodes:
  lb1: {address: 10.77.0.21, interface: eth0}
  lb2: {address: 10.77.0.22, interface: eth0}
hosts:
  app1:
    docker: tcp://10.77.0.11:2376
    tls: {ca_file: docker/ca.pem, cert_file: docker/cert.pem, key_file: docker/key.pem}
  app2:
    docker: tcp://10.77.0.12:2376
    tls: {ca_file: docker/ca.pem, cert_file: docker/cert.pem, key_file: docker/key.pem}
vips:
  public:
    addresses: [203.0.113.10]
    ha: vrrp
    nodes: [lb1, lb2]
    vrrp: {advert_interval: 200ms, preempt_delay: 1s}
    announce: {protocols: [bgp], when: serving}
routing:
  bgp:
    asn: 65010
    peers:
      edge: {address: 10.77.0.1, asn: 65000, hold_time: 3sPEER_OPTIONS}
`
