package discovery

import (
	"path"
	"strings"
)

// Selector picks containers: every condition given must hold. The zero
// Selector picks none.
type Selector struct {
	Labels  map[string]string
	Compose string // project/service
	Swarm   string // Swarm service name
	Image   string // glob over the reference, as given or in full
	Name    string // glob
}

// Labels that Compose and Swarm put on their containers.
const (
	composeProject = "com.docker.compose.project"
	composeService = "com.docker.compose.service"
	swarmService   = "com.docker.swarm.service.name"
)

// Matches reports whether s picks c. A malformed glob picks nothing.
func (s Selector) Matches(c Container) bool {
	if len(s.Labels) == 0 && s.Compose == "" && s.Swarm == "" && s.Image == "" && s.Name == "" {
		return false
	}
	for key, want := range s.Labels {
		if got, ok := c.Labels[key]; !ok || got != want {
			return false
		}
	}
	if s.Compose != "" {
		project, service, ok := strings.Cut(s.Compose, "/")
		if !ok || project == "" || service == "" || c.Labels[composeProject] != project || c.Labels[composeService] != service {
			return false
		}
	}
	return (s.Swarm == "" || c.Labels[swarmService] == s.Swarm) &&
		(s.Name == "" || glob(s.Name, c.Name)) &&
		(s.Image == "" || globImage(s.Image, c.Image))
}

func glob(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

// globImage matches any way to write the same image: nginx, nginx:latest,
// library/nginx:latest and docker.io/library/nginx:latest are one, and a digest
// may be left away.
func globImage(pattern, image string) bool {
	for _, ref := range spellings(image) {
		if glob(pattern, ref) {
			return true
		}
	}
	return false
}

func spellings(image string) []string {
	refs := []string{image}
	add := func(ref string) { refs = append(refs, ref) }
	short, _, digested := strings.Cut(image, "@")
	if digested {
		add(short)
	}
	short = strings.TrimPrefix(short, "docker.io/")
	short = strings.TrimPrefix(short, "library/")
	bare := []string{short}
	if !digested && !strings.Contains(path.Base(short), ":") {
		bare = append(bare, short+":latest")
	} else if untagged, ok := strings.CutSuffix(short, ":latest"); ok {
		bare = append(bare, untagged)
	}
	for _, ref := range bare {
		add(ref)
		switch first, _, ok := strings.Cut(ref, "/"); {
		case !ok:
			add("library/" + ref)
			add("docker.io/library/" + ref)
		case !strings.ContainsAny(first, ".:") && first != "localhost":
			add("docker.io/" + ref)
		}
	}
	return refs
}
