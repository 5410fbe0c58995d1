package haproxy

import "context"

// Predecessor finds the HAProxy that an earlier controller left running and
// gives the health of those of its servers that take new sessions. Nothing is
// changed. ok is false where none runs; the map is empty where it does not say.
func (h *HAProxy) Predecessor(ctx context.Context) (ready map[ServerKey]Health, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.alive() && !h.adopt() {
		return nil, false
	}
	ready = make(map[ServerKey]Health)
	_, list, err := h.showServers(ctx, "")
	if err != nil {
		return ready, true // the first Set will say what is wrong
	}
	for _, o := range list {
		if o.server.State == Ready {
			ready[o.ServerKey.ofService()] = o.health
		}
	}
	return ready, true
}
