package docker

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
)

// inspection is as much of an inspection's answer as is of use: the whole is
// several times that, and a start reads one of every container.
type inspection struct {
	ID, Name string
	State    *struct {
		Status    container.ContainerState
		StartedAt string
		Health    *struct{ Status container.HealthStatus }
	}
	HostConfig *struct{ NetworkMode string }
	Config     *struct {
		Image        string
		Labels       map[string]string
		ExposedPorts map[string]struct{}
		StopSignal   string
		StopTimeout  *int
	}
	NetworkSettings *struct {
		Networks map[string]*network.EndpointSettings
		Ports    map[string][]struct{ HostIP, HostPort string } // by port in the container: 8080/tcp
	}
}

// inspectContainer asks for one container.
func (s *session) inspectContainer(ctx context.Context, id string) (in inspection, err error) {
	return in, s.read(ctx, "/containers/"+url.PathEscape(id)+"/json", nil, &in)
}

// ping asks the engine for a sign of life: what an idle node does most. The
// client library traces its own ping, which takes twice as long.
func (s *session) ping(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, s.base+"/_ping", nil)
	if err != nil {
		return err
	}
	resp, err := s.plain.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return s.get(ctx, "/_ping", nil, new(bytes.Buffer)) // a proxy in between may know GET alone; an engine says why
}

// read asks the engine for a path of its API and decodes the answer.
func (s *session) read(ctx context.Context, path string, query url.Values, into any) error {
	body, _ := s.buffers.Get().(*bytes.Buffer)
	if body == nil {
		body = new(bytes.Buffer)
	}
	defer s.buffers.Put(body)
	if err := s.get(ctx, path, query, body); err != nil {
		return err
	}
	return json.Unmarshal(body.Bytes(), into)
}

// get asks the engine for a path of its API and gives the answer, not decoded,
// in body. A thing that the engine does not have is [cerrdefs.ErrNotFound].
func (s *session) get(ctx context.Context, path string, query url.Values, body *bytes.Buffer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/v"+s.api.ClientVersion()+path, nil)
	if err != nil {
		return err
	}
	req.URL.RawQuery = query.Encode()
	resp, err := s.plain.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body.Reset()
	if _, err := body.ReadFrom(resp.Body); err != nil {
		return err
	}
	if err := s.most.covers(body.Bytes()); err != nil {
		return err
	}
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	var said struct{ Message string }
	_ = json.Unmarshal(body.Bytes(), &said) // a proxy in between may answer in another form
	text := printable(cmp.Or(said.Message, body.String()))
	if resp.StatusCode == http.StatusNotFound {
		return fmt.Errorf("%w: %s", cerrdefs.ErrNotFound, text)
	}
	return fmt.Errorf("%s: %s", resp.Status, text)
}
