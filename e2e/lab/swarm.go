package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	dockernet "github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"

	"github.com/vipilot/vipilot/internal/command"
)

// Swarm is the lab's application hosts as a Docker Swarm: App1 manages it.
type Swarm struct {
	lab     *Lab
	manager *App // who is asked for changes
	members []*App
	image   string // the ID of an image that all hosts have: a name would be asked for at registries
}

// StartSwarm makes a Swarm of the application hosts.
func (l *Lab) StartSwarm(ctx context.Context) (*Swarm, error) {
	_, err := l.App1.Docker.SwarmInit(ctx, swarm.InitRequest{ListenAddr: l.App1.Address + ":2377", AdvertiseAddr: l.App1.Address})
	if err != nil {
		return nil, fmt.Errorf("start a swarm on %s: %w", l.App1.Name, err)
	}
	s := &Swarm{lab: l, manager: l.App1, members: []*App{l.App1}}
	found, err := l.App1.Docker.ImageInspect(ctx, Image)
	if err != nil {
		return s, fmt.Errorf("inspect the image: %w", err)
	}
	s.image = found.ID
	return s, s.Join(ctx, l.App2, swarm.NodeRoleWorker)
}

// Join takes a host into the Swarm.
func (s *Swarm) Join(ctx context.Context, app *App, role swarm.NodeRole) error {
	if err := s.shareImage(ctx, app); err != nil {
		return err
	}
	info, err := s.manager.Docker.SwarmInspect(ctx)
	if err != nil {
		return fmt.Errorf("inspect the swarm: %w", err)
	}
	token := info.JoinTokens.Worker
	if role == swarm.NodeRoleManager {
		token = info.JoinTokens.Manager
	}
	s.members = append(s.members, app)
	err = app.Docker.SwarmJoin(ctx, swarm.JoinRequest{
		ListenAddr: app.Address + ":2377", AdvertiseAddr: app.Address,
		JoinToken: token, RemoteAddrs: []string{s.manager.Address + ":2377"},
	})
	if err != nil && !strings.Contains(err.Error(), "will continue in the background") { // it took more than 20 s
		return fmt.Errorf("join %s to the swarm: %w", app.Name, err)
	}
	return s.awaitNode(ctx, app, role)
}

// awaitNode waits until the manager counts a host as ready, and as one that
// manages if that is its role: it has joined a moment earlier. What is scheduled
// in that moment all goes to the others, and a majority is not yet one.
func (s *Swarm) awaitNode(ctx context.Context, app *App, role swarm.NodeRole) error {
	return Poll(ctx, Patience, func(ctx context.Context) error {
		info, err := app.Docker.Info(ctx)
		if err != nil {
			return err
		}
		node, _, err := s.manager.Docker.NodeInspectWithRaw(ctx, info.Swarm.NodeID)
		switch {
		case err != nil:
		case node.Status.State != swarm.NodeStateReady:
			err = fmt.Errorf("the swarm sees %s as %s", app.Name, node.Status.State)
		case role == swarm.NodeRoleManager && (node.ManagerStatus == nil || node.ManagerStatus.Reachability != swarm.ReachabilityReachable):
			err = fmt.Errorf("the swarm sees %s as manager: %+v", app.Name, node.ManagerStatus)
		}
		return err
	})
}

// shareImage gives a host the image of the manager, under the same ID.
func (s *Swarm) shareImage(ctx context.Context, app *App) error {
	archive, err := s.manager.Docker.ImageSave(ctx, []string{Image})
	if err != nil {
		return fmt.Errorf("save the image: %w", err)
	}
	defer archive.Close()
	loaded, err := app.Docker.ImageLoad(ctx, archive)
	if err != nil {
		return fmt.Errorf("load the image on %s: %w", app.Name, err)
	}
	defer loaded.Body.Close()
	_, err = io.Copy(io.Discard, loaded.Body)
	return err
}

// Promote makes a member a manager.
func (s *Swarm) Promote(ctx context.Context, app *App) error {
	err := s.updateNode(ctx, app, func(spec *swarm.NodeSpec) { spec.Role = swarm.NodeRoleManager })
	if err != nil {
		return err
	}
	return s.awaitNode(ctx, app, swarm.NodeRoleManager)
}

// Ask has another manager asked for changes from now on.
func (s *Swarm) Ask(app *App) { s.manager = app }

// End dissolves the Swarm; its containers and networks go with it.
func (s *Swarm) End(ctx context.Context) error {
	var errs []error
	for _, app := range slices.Backward(s.members) {
		errs = append(errs, app.StartEngine(ctx), Poll(ctx, Patience, func(ctx context.Context) error {
			err := app.Docker.SwarmLeave(ctx, true)
			if err != nil && !strings.Contains(err.Error(), "not part of a swarm") { // an engine gives up after 15 s
				return fmt.Errorf("%s leaves the swarm: %w", app.Name, err)
			}
			return app.RemoveNetwork(ctx, "docker_gwbridge")
		}))
	}
	return errors.Join(errs...)
}

// Overlay makes a network that spans the hosts.
func (s *Swarm) Overlay(ctx context.Context, name, subnet string) error {
	_, err := s.manager.Docker.NetworkCreate(ctx, name, dockernet.CreateOptions{
		Driver: "overlay", Attachable: true, IPAM: &dockernet.IPAM{Config: []dockernet.IPAMConfig{{Subnet: subnet}}},
	})
	if err != nil {
		return fmt.Errorf("make network %s: %w", name, err)
	}
	return nil
}

// Attach puts a balancer's node on an overlay, with an interface ov0: a
// container that does nothing is given an address there by Docker, and the node
// takes its place. What goes between node and tasks is then carried by VXLAN
// from the host of that container.
func (s *Swarm) Attach(ctx context.Context, app *App, n *Node, overlay string) error {
	id, err := app.Launch(ctx, Container{Name: "place-of-" + n.Name, Network: overlay})
	if err != nil {
		return err
	}
	seen, err := app.Docker.ContainerInspect(ctx, id)
	if err != nil {
		return fmt.Errorf("inspect the place of %s: %w", n.Name, err)
	}
	place := seen.NetworkSettings.Networks[overlay]
	inside := []string{"-t", strconv.Itoa(seen.State.Pid), "-n", "ip", "link", "set", "eth0", "down", "name", "ov0", "netns", "1"}
	if _, err := app.Run(ctx, "nsenter", inside...); err != nil {
		return err
	}
	// From one host to another: done from outside, where both can be seen.
	if _, err := command.Run(ctx, "nsenter", "-t", app.pid(), "-n", "ip", "link", "set", "ov0", "netns", n.pid()); err != nil {
		return fmt.Errorf("move %s into the overlay: %w", n.Name, err)
	}
	return n.ip(ctx, fmt.Sprintf("addr add %s/%d dev ov0", place.IPAddress, place.IPPrefixLen), "link set ov0 up")
}

// Service is a Swarm service of the lab's image; only Name is needed.
type Service struct {
	Name     string
	Replicas uint64 // 0 = one on every node
	Labels   map[string]string
	Env      []string
	Network  string                      // an overlay
	Resolve  swarm.ResolutionMode        // how its tasks are found there; default DNS round robin
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
		spec.EndpointSpec = &swarm.EndpointSpec{Mode: cmp.Or(service.Resolve, swarm.ResolutionModeDNSRR)}
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
	return inSequence(func() error { return s.update(ctx, name, change) })
}

// Updated checks that the last Update that changed tasks has replaced all of them.
func (s *Swarm) Updated(ctx context.Context, name string) error {
	found, _, err := s.manager.Docker.ServiceInspectWithRaw(ctx, name, swarm.ServiceInspectOptions{})
	if err != nil {
		return fmt.Errorf("inspect service %s: %w", name, err)
	}
	if u := found.UpdateStatus; u == nil || u.State != swarm.UpdateStateCompleted {
		return fmt.Errorf("the update of service %s: %+v", name, u)
	}
	return nil
}

// inSequence repeats a change of what was read a moment before, as long as the
// Swarm itself has changed it in between.
func inSequence(change func() error) error {
	for {
		if err := change(); err == nil || !strings.Contains(err.Error(), "update out of sequence") {
			return err
		}
	}
}

func (s *Swarm) update(ctx context.Context, name string, change func(*swarm.ServiceSpec)) error {
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

// Tasks are all tasks that the manager knows, one a line, with the state that
// each should have and has.
func (s *Swarm) Tasks(ctx context.Context) ([]string, error) {
	tasks, err := s.manager.Docker.TaskList(ctx, swarm.TaskListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list tasks: %w", err)
	}
	var list []string
	for _, t := range tasks {
		list = append(list, fmt.Sprintf("%s.%d on %s: wanted %s, is %s since %s %s", t.ServiceID, t.Slot, t.NodeID,
			t.DesiredState, t.Status.State, t.Status.Timestamp.Format(time.StampMilli), t.Status.Err))
	}
	return list, nil
}

// Scale sets the number of replicas.
func (s *Swarm) Scale(ctx context.Context, name string, replicas uint64) error {
	return s.Update(ctx, name, func(spec *swarm.ServiceSpec) { spec.Mode.Replicated.Replicas = &replicas })
}

// SetAvailability drains a node, or makes it active again.
func (s *Swarm) SetAvailability(ctx context.Context, app *App, availability swarm.NodeAvailability) error {
	return s.updateNode(ctx, app, func(spec *swarm.NodeSpec) { spec.Availability = availability })
}

func (s *Swarm) updateNode(ctx context.Context, app *App, change func(*swarm.NodeSpec)) error {
	info, err := app.Docker.Info(ctx)
	if err != nil {
		return err
	}
	return inSequence(func() error {
		node, _, err := s.manager.Docker.NodeInspectWithRaw(ctx, info.Swarm.NodeID)
		if err != nil {
			return fmt.Errorf("inspect node %s: %w", app.Name, err)
		}
		change(&node.Spec)
		if err := s.manager.Docker.NodeUpdate(ctx, node.ID, node.Version, node.Spec); err != nil {
			return fmt.Errorf("update node %s: %w", app.Name, err)
		}
		return nil
	})
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
