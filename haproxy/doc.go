// Package haproxy makes one HAProxy say what it is told: wanted frontends,
// backends and servers go in as one [Config], and come out as a haproxy.cfg,
// runtime updates and, only where the structure changed, a reload. It owns the
// process (start, adoption, restart after a crash), the files in its run
// directory and the feed of server health. It knows nothing of VIP placement,
// containers or routers, and it never restarts a HAProxy that runs.
//
//	h := haproxy.New(haproxy.Options{RunDir: "/run/vipilot/haproxy"})
//	go h.Run(ctx)
//	change, err := h.Set(ctx, want) // the whole wanted state, as often as you like
//
// What a runtime update can do: servers come, go, drain and change weight;
// routes to existing backends come and go; certificates are renewed. All else
// is a reload, and [Change] says which difference forced it.
package haproxy
