package lab

import (
	"context"
	"fmt"

	cerrdefs "github.com/containerd/errdefs"
	dockernet "github.com/docker/docker/api/types/network"
)

// Network is a Docker network of one host.
type Network struct {
	Name    string
	Driver  string   // "" = bridge
	Subnets []string // the engine chooses where none is given; an IPv6 one switches IPv6 on
	Range   string   // the part of the first subnet that containers get; "" = all
	Options map[string]string
}

// AddNetwork makes a network on the host.
func (a *App) AddNetwork(ctx context.Context, n Network) error {
	options := dockernet.CreateOptions{Driver: n.Driver, Options: n.Options, IPAM: &dockernet.IPAM{}}
	for i, subnet := range n.Subnets {
		config := dockernet.IPAMConfig{Subnet: subnet}
		if i == 0 {
			config.IPRange = n.Range
		}
		options.IPAM.Config = append(options.IPAM.Config, config)
	}
	if len(n.Subnets) > 1 {
		six := true
		options.EnableIPv6 = &six
	}
	if _, err := a.Docker.NetworkCreate(ctx, n.Name, options); err != nil {
		return fmt.Errorf("make network %s on %s: %w", n.Name, a.Name, err)
	}
	return nil
}

// RemoveNetwork removes a network and, by force, every container of the host.
// An engine that is busy may still count a container that is gone.
func (a *App) RemoveNetwork(ctx context.Context, name string) error {
	return Poll(ctx, Patience, func(ctx context.Context) error {
		if err := a.clear(ctx); err != nil {
			return err
		}
		if err := a.Docker.NetworkRemove(ctx, name); err != nil && !cerrdefs.IsNotFound(err) {
			return fmt.Errorf("remove network %s of %s: %w", name, a.Name, err)
		}
		return nil
	})
}

// Connect puts a container on a network more.
func (a *App) Connect(ctx context.Context, network, container string) error {
	if err := a.Docker.NetworkConnect(ctx, network, container, nil); err != nil {
		return fmt.Errorf("connect %s to network %s of %s: %w", container, network, a.Name, err)
	}
	return nil
}
