package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// pluginDir is where an engine looks for plugins that somebody else started.
const pluginDir = "/run/docker/plugins"

// AddNetworkDriver gives the host's engine a network driver of that name,
// through the protocol by which Weave Net's plugins are one (Docker's "remote"
// driver). What it does is all its own: it puts containers on the wire of the
// host's eth0. They reach the lab's LAN without a gateway.
func (a *App) AddNetworkDriver(name string) (remove func(), err error) {
	socket := filepath.Join(pluginDir, name+".sock")
	var listener net.Listener
	err = a.Do(func() error {
		if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
			return err
		}
		_ = os.Remove(socket) // an earlier driver's, which ended where this path is another file
		listener, err = net.Listen("unix", socket)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("add network driver %s on %s: %w", name, a.Name, err)
	}
	server := &http.Server{Handler: http.HandlerFunc(a.driveNetwork)}
	go func() { _ = server.Serve(listener) }()
	return func() { _ = server.Close() }, nil
}

// driveNetwork answers one request of the engine to the driver.
func (a *App) driveNetwork(w http.ResponseWriter, r *http.Request) {
	var asked struct{ EndpointID string }
	_ = json.NewDecoder(r.Body).Decode(&asked) // some say nothing
	link := "wv" + asked.EndpointID[:min(len(asked.EndpointID), 9)]
	answer := map[string]any{}
	switch path.Base(strings.TrimPrefix(r.URL.Path, "/NetworkDriver.")) {
	case "Plugin.Activate":
		answer["Implements"] = []string{"NetworkDriver"}
	case "GetCapabilities":
		answer["Scope"] = "local"
	case "CreateEndpoint":
		answer["Interface"] = map[string]any{}
	case "Join":
		answer["InterfaceName"] = map[string]string{"SrcName": link, "DstPrefix": "ethwe"}
		answer["StaticRoutes"] = []map[string]any{{"Destination": "10.77.0.0/24", "RouteType": 1}} // on the wire itself
		answer["DisableGatewayService"] = true
		if _, err := a.Run(r.Context(), "ip", "link", "add", link, "link", "eth0", "type", "macvlan", "mode", "bridge"); err != nil {
			answer = map[string]any{"Err": err.Error()}
		}
	case "DeleteEndpoint":
		_, _ = a.Run(context.WithoutCancel(r.Context()), "ip", "link", "del", link) // gone already where its container is
	}
	w.Header().Set("Content-Type", "application/vnd.docker.plugins.v1.1+json")
	_ = json.NewEncoder(w).Encode(answer)
}
