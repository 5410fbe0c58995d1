package cli

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"

	"gopkg.in/yaml.v3"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/controller"
	"github.com/vipilot/vipilot/status"
)

// readEndpoints reads endpoints by service, plain or as a status report.
func readEndpoints(name string, cfg *config.Config) (controller.Given, error) {
	if name == "" {
		return nil, nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read endpoints: %w", err)
	}
	var report status.Report
	if err := json.Unmarshal(data, &report); err == nil && report.Node != "" {
		return reported(&report, cfg), nil
	}
	var plain map[string][]givenEndpoint
	if err := yaml.Unmarshal(data, &plain); err != nil {
		return nil, fmt.Errorf("read endpoints %s: %w; write SERVICE: [ADDRESS:PORT, …], or give the answer of GET /v1/status", name, err)
	}
	given := make(controller.Given)
	for service, endpoints := range plain {
		given[service] = []controller.GivenEndpoint{} // known to have none
		for _, e := range endpoints {
			given[service] = append(given[service], controller.GivenEndpoint(e))
		}
	}
	return given, nil
}

// reported are the endpoints of a report that have an address, for the
// services that cfg has too.
func reported(report *status.Report, cfg *config.Config) controller.Given {
	given := make(controller.Given)
	for name, s := range report.Services {
		if _, ok := cfg.Service(name); !ok {
			continue
		}
		given[name] = []controller.GivenEndpoint{}
		for _, e := range s.Endpoints {
			if address, err := netip.ParseAddrPort(e.Address); err == nil && address.Port() != 0 { // else a server named by host, which cfg names
				via, _ := netip.ParseAddrPort(e.Via)
				given[name] = append(given[name], controller.GivenEndpoint{Name: e.Name, Address: address, Via: via})
			}
		}
	}
	return given
}

type givenEndpoint controller.GivenEndpoint

// UnmarshalYAML takes "address:port" or {name: …, address: …}.
func (g *givenEndpoint) UnmarshalYAML(node *yaml.Node) error {
	raw := struct{ Name, Address, Via string }{}
	if node.Kind == yaml.ScalarNode {
		raw.Address = node.Value
	} else if err := node.Decode(&raw); err != nil {
		return err
	}
	address, err := netip.ParseAddrPort(raw.Address)
	if err != nil || address.Port() == 0 {
		return fmt.Errorf("line %d: %q is no address:port", node.Line, raw.Address)
	}
	g.Name, g.Address = raw.Name, address
	if raw.Via == "" {
		return nil
	}
	if g.Via, err = netip.ParseAddrPort(raw.Via); err != nil {
		return fmt.Errorf("line %d: %q is no address:port of a proxy", node.Line, raw.Via)
	}
	return nil
}
