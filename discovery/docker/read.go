package docker

import (
	"encoding/json"
	"fmt"

	"github.com/vipilot/vipilot/discovery"
)

// Read reads a container from an engine's answer to its inspection; drivers are
// those of the networks, by network ID. It fails on what no engine answers.
func Read(answer []byte, drivers map[string]string) (discovery.Container, error) {
	var in inspection
	if err := json.Unmarshal(answer, &in); err != nil {
		return discovery.Container{}, fmt.Errorf("read inspection: %w", err)
	}
	return fromInspect(in, drivers)
}
