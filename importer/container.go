package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Container is what an import wants to know of a container.
type Container struct {
	Name   string
	Labels map[string]string
	Env    map[string]string
	Args   []string // command line, where Traefik is told its entry points
}

// ReadInspect reads the output of `docker inspect`: arrays of containers, or
// containers, any number of them.
func ReadInspect(r io.Reader) ([]Container, error) {
	var containers []Container
	d := json.NewDecoder(r)
	for {
		var raw json.RawMessage
		if err := d.Decode(&raw); errors.Is(err, io.EOF) {
			return containers, nil
		} else if err != nil {
			return nil, fmt.Errorf("read inspection: %w", err)
		}
		list := []json.RawMessage{raw}
		if bytes.HasPrefix(raw, []byte("[")) {
			if err := json.Unmarshal(raw, &list); err != nil {
				return nil, fmt.Errorf("read inspection: %w", err)
			}
		}
		for _, one := range list {
			c, err := readContainer(one)
			if err != nil {
				return nil, err
			}
			containers = append(containers, c)
		}
	}
}

func readContainer(raw json.RawMessage) (Container, error) {
	var in struct {
		Name   string
		Args   []string
		Config *struct {
			Labels   map[string]string
			Env, Cmd []string
		}
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return Container{}, fmt.Errorf("read inspection: %w", err)
	}
	c := Container{Name: strings.TrimPrefix(in.Name, "/"), Args: in.Args, Env: make(map[string]string)}
	if c.Name == "" || in.Config == nil {
		return c, errors.New("read inspection: this is not the answer of docker inspect: a container has a Name and a Config")
	}
	c.Labels = in.Config.Labels
	c.Args = append(c.Args, in.Config.Cmd...)
	for _, e := range in.Config.Env {
		name, value, _ := strings.Cut(e, "=")
		c.Env[name] = value
	}
	return c, nil
}

// selector says how vipilot finds this container, and others made like it.
func (c Container) selector() selector {
	if s := c.Labels["com.docker.swarm.service.name"]; s != "" {
		return selector{swarm: s}
	}
	project, service := c.Labels["com.docker.compose.project"], c.Labels["com.docker.compose.service"]
	if project != "" && service != "" {
		return selector{compose: project + "/" + service}
	}
	return selector{name: c.Name}
}

// sorted puts containers in the order of their names.
func sorted(containers []Container) []Container {
	return slices.SortedStableFunc(slices.Values(containers), func(a, b Container) int { return strings.Compare(a.Name, b.Name) })
}
