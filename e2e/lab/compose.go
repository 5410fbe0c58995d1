package lab

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// compose is what our compose file uses of Docker's format; a key that is not
// known here is an error, so that nothing in the file goes untried.
type compose struct {
	Common   yaml.Node               `yaml:"x-common"`
	Services map[string]composeEntry `yaml:"services"`
	Volumes  map[string]struct {
		Driver  string            `yaml:"driver"`
		Options map[string]string `yaml:"driver_opts"`
	} `yaml:"volumes"`

	nofile int // the most that this machine lets a process have; 0 = no limit
}

type composeEntry struct {
	Image       string            `yaml:"image"`
	Command     []string          `yaml:"command"`
	Network     string            `yaml:"network_mode"`
	PID         string            `yaml:"pid"`
	Restart     string            `yaml:"restart"`
	ReadOnly    bool              `yaml:"read_only"`
	CapDrop     []string          `yaml:"cap_drop"`
	CapAdd      []string          `yaml:"cap_add"`
	Security    []string          `yaml:"security_opt"`
	Ulimits     map[string]int    `yaml:"ulimits"`
	StopSignal  string            `yaml:"stop_signal"`
	StopGrace   string            `yaml:"stop_grace_period"`
	Environment map[string]string `yaml:"environment"`
	Volumes     []string          `yaml:"volumes"`
	Tmpfs       []string          `yaml:"tmpfs"`
	Healthcheck struct {
		Disable bool `yaml:"disable"`
	} `yaml:"healthcheck"`
}

// readCompose reads a file with its ${NAME:-default} filled in.
func readCompose(file string, env map[string]string) (compose, error) {
	var c compose
	data, err := os.ReadFile(file)
	if err != nil {
		return c, err
	}
	text := os.Expand(string(data), func(name string) string {
		name, fallback, _ := strings.Cut(name, ":-")
		if value := env[name]; value != "" {
			return value
		}
		return fallback
	})
	strict := yaml.NewDecoder(bytes.NewReader([]byte(text)))
	strict.KnownFields(true)
	if err := strict.Decode(&c); err != nil {
		return c, fmt.Errorf("read %s: %w", file, err)
	}
	return c, nil
}

// names are the services as they stand in the file's own order of starting:
// none waits for another.
func (c compose) names() []string { return slices.Sorted(maps.Keys(c.Services)) }

// volumes are the docker commands that make the named volumes.
func (c compose) volumes() [][]string {
	var all [][]string
	for _, name := range slices.Sorted(maps.Keys(c.Volumes)) {
		args := []string{"volume", "create"}
		v := c.Volumes[name]
		if v.Driver != "" {
			args = append(args, "--driver", v.Driver)
		}
		for _, option := range slices.Sorted(maps.Keys(v.Options)) {
			args = append(args, "--opt", option+"="+v.Options[option])
		}
		all = append(all, append(args, name))
	}
	return all
}

// run is the docker command that does what compose would for one service.
func (c compose) run(name string) ([]string, error) {
	s, ok := c.Services[name]
	if !ok {
		return nil, fmt.Errorf("compose.yaml has no service %s", name)
	}
	args := []string{"run", "-d", "--name", name}
	with := func(flag string, values ...string) {
		for _, v := range values {
			if v != "" {
				args = append(args, flag, v)
			}
		}
	}
	with("--network", s.Network)
	with("--pid", s.PID)
	with("--restart", s.Restart)
	with("--cap-drop", s.CapDrop...)
	with("--cap-add", s.CapAdd...)
	with("--security-opt", s.Security...)
	with("--stop-signal", s.StopSignal)
	with("--stop-timeout", strings.TrimSuffix(s.StopGrace, "s"))
	with("--volume", s.Volumes...)
	with("--tmpfs", s.Tmpfs...)
	for _, limit := range slices.Sorted(maps.Keys(s.Ulimits)) {
		value := s.Ulimits[limit]
		if limit == "nofile" && c.nofile > 0 {
			value = min(value, c.nofile)
		}
		with("--ulimit", fmt.Sprintf("%s=%d", limit, value))
	}
	for _, variable := range slices.Sorted(maps.Keys(s.Environment)) {
		with("--env", variable+"="+s.Environment[variable])
	}
	if s.ReadOnly {
		args = append(args, "--read-only")
	}
	if s.Healthcheck.Disable {
		args = append(args, "--no-healthcheck")
	}
	return append(append(args, s.Image), s.Command...), nil
}
