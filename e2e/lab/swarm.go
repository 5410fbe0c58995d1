package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/docker/docker/api/types/container"
	dockernet "github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
)

// Swarm is the lab's application hosts as a Docker Swarm: App1 manages it.
type Swarm struct {
	lab     *Lab
	manager *App
	image   string // the ID of an image that all hosts have: a name would be asked for at registries
}

// StartSwarm makes a Swarm of the application hosts.
func (l *Lab) StartSwarm(ctx context.Context) (*Swarm, error) {
	_, err := l.App1.Docker.SwarmInit(ctx, swarm.InitRequest{ListenAddr: l.App1.Address + ":2377", AdvertiseAddr: l.App1.Address})
	if err != nil {
		return nil, fmt.Errorf("start a swarm on %s: %w", l.App1.Name, err)
	}
	s := &Swarm{lab: l, manager: l.App1}
	if s.image, err = l.shareImage(ctx); err != nil {
		return s, err
	}
	info, err := l.App1.Docker.SwarmInspect(ctx)
	if err != nil {
		return s, fmt.Errorf("inspect the swarm: %w", err)
	}
	err = l.App2.Docker.SwarmJoin(ctx, swarm.JoinRequest{
		ListenAddr: l.App2.Address + ":2377", AdvertiseAddr: l.App2.Address,
		JoinToken: info.JoinTokens.Worker, RemoteAddrs: []string{l.App1.Address + ":2377"},
	})
	if err != nil {
		return s, fmt.Errorf("join %s to the swarm: %w", l.App2.Name, err)
	}
	return s, nil
}

// shareImage gives App2 the image of App1, and its ID.
func (l *Lab) shareImage(ctx context.Context) (string, error) {
	found, err := l.App1.Docker.ImageInspect(ctx, Image)
	if err != nil {
		return "", fmt.Errorf("inspect the image: %w", err)
	}
	archive, err := l.App1.Docker.ImageSave(ctx, []string{Image})
	if err != nil {
		return "", fmt.Errorf("save the image: %w", err)
	}
	defer archive.Close()
	loaded, err := l.App2.Docker.ImageLoad(ctx, archive)
	if err != nil {
		return "", fmt.Errorf("load the image on %s: %w", l.App2.Name, err)
	}
	defer loaded.Body.Close()
	_, err = io.Copy(io.Discard, loaded.Body)
	return found.ID, err
}

// End dissolves the Swarm; its containers and networks go with it.
func (s *Swarm) End(ctx context.Context) error {
	var errs []error
	for _, app := range []*App{s.lab.App2, s.lab.App1} {
		errs = append(errs, app.StartEngine(ctx), app.Docker.SwarmLeave(ctx, true))
		errs = append(errs, Poll(ctx, 20*time.Second, func(ctx context.Context) error {
			if err := app.Clear(ctx); err != nil {
				return err
			}
			return app.Docker.NetworkRemove(ctx, "docker_gwbridge")
		}))
	}
	return errors.Join(errs...)
}

// Overlay makes a network that spans the hosts.
func (s *Swarm) Overlay(ctx context.Context, name, subnet string) error {
	_, err := s.manager.Docker.NetworkCreate(ctx, name, dockernet.CreateOptions{
		Driver: "overlay", IPAM: &dockernet.IPAM{Config: []dockernet.IPAMConfig{{Subnet: subnet}}},
	})
	if err != nil {
		return fmt.Errorf("make network %s: %w", name, err)
	}
	return nil
}

// Service is a Swarm service of the lab's image; only Name is needed.
type Service struct {
	Name     string
	Replicas uint64 // 0 = one on every node
	Labels   map[string]string
	Env      []string
	Network  string                      // an overlay; its tasks are then found by DNS round robin
	Mode     swarm.PortConfigPublishMode // port 8080 is published in this way; "" = not
	Port     uint32                      // where; 0 = the engines choose
	Where    string                      // a constraint, e.g. node.role==worker
}

// Create makes a service.
func (s *Swarm) Create(ctx context.Context, service Service) error {
	grace := 5 * time.Second
	spec := swarm.ServiceSpec{
		Annotations: swarm.Annotations{Name: service.Name, Labels: service.Labels},
		TaskTemplate: swarm.TaskSpec{
			ContainerSpec: &swarm.ContainerSpec{Image: s.image, Env: service.Env, StopGracePeriod: &grace},
			RestartPolicy: &swarm.RestartPolicy{Condition: swarm.RestartPolicyConditionAny, Delay: new(time.Duration)},
		},
		Mode: swarm.ServiceMode{Global: &swarm.GlobalService{}},
	}
	if service.Replicas > 0 {
		spec.Mode = swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &service.Replicas}}
	}
	if service.Network != "" {
		spec.TaskTemplate.Networks = []swarm.NetworkAttachmentConfig{{Target: service.Network}}
		spec.EndpointSpec = &swarm.EndpointSpec{Mode: swarm.ResolutionModeDNSRR}
	}
	if service.Mode != "" {
		spec.EndpointSpec = &swarm.EndpointSpec{Ports: []swarm.PortConfig{
			{Protocol: swarm.PortConfigProtocolTCP, TargetPort: 8080, PublishedPort: service.Port, PublishMode: service.Mode}}}
	}
	if service.Where != "" {
		spec.TaskTemplate.Placement = &swarm.Placement{Constraints: []string{service.Where}}
	}
	if _, err := s.manager.Docker.ServiceCreate(ctx, spec, swarm.ServiceCreateOptions{}); err != nil {
		return fmt.Errorf("create service %s: %w", service.Name, err)
	}
	return nil
}

// Update changes a service's specification, as docker service update does.
func (s *Swarm) Update(ctx context.Context, name string, change func(*swarm.ServiceSpec)) error {
	found, _, err := s.manager.Docker.ServiceInspectWithRaw(ctx, name, swarm.ServiceInspectOptions{})
	if err != nil {
		return fmt.Errorf("inspect service %s: %w", name, err)
	}
	change(&found.Spec)
	if _, err := s.manager.Docker.ServiceUpdate(ctx, found.ID, found.Version, found.Spec, swarm.ServiceUpdateOptions{}); err != nil {
		return fmt.Errorf("update service %s: %w", name, err)
	}
	return nil
}

// Scale sets the number of replicas.
func (s *Swarm) Scale(ctx context.Context, name string, replicas uint64) error {
	return s.Update(ctx, name, func(spec *swarm.ServiceSpec) { spec.Mode.Replicated.Replicas = &replicas })
}

// SetAvailability drains a node, or makes it active again.
func (s *Swarm) SetAvailability(ctx context.Context, app *App, availability swarm.NodeAvailability) error {
	info, err := app.Docker.Info(ctx)
	if err != nil {
		return err
	}
	node, _, err := s.manager.Docker.NodeInspectWithRaw(ctx, info.Swarm.NodeID)
	if err != nil {
		return fmt.Errorf("inspect node %s: %w", app.Name, err)
	}
	node.Spec.Availability = availability
	if err := s.manager.Docker.NodeUpdate(ctx, node.ID, node.Version, node.Spec); err != nil {
		return fmt.Errorf("set availability of node %s: %w", app.Name, err)
	}
	return nil
}

// Containers are the running containers of a service on one host, by ID.
func (s *Swarm) Containers(ctx context.Context, app *App, service string) ([]string, error) {
	all, err := app.Docker.ContainerList(ctx, container.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list containers of %s: %w", app.Name, err)
	}
	var ids []string
	for _, c := range all {
		if c.Labels["com.docker.swarm.service.name"] == service {
			ids = append(ids, c.ID)
		}
	}
	return ids, nil
}
