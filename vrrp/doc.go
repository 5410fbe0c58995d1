// Package vrrp makes keepalived say what is wanted: instances in,
// keepalived.conf out, and the roles of the instances back. It owns the
// keepalived process of its run directory: check, start, reload, restart after
// a crash, adoption from a dead controller, and an ordered stop. It decides
// neither priorities nor who should be master, and it does not know HAProxy;
// the track file that ties an instance to HAProxy's life is written by others.
//
//	k := vrrp.New(vrrp.Options{RunDir: "/run/vipilot/keepalived", Logger: log})
//	go k.Run(ctx)
//	changed, err := k.Set(ctx, vrrp.Config{Node: "lb1", Instances: …})
//	for change := range k.Roles() { … }
package vrrp
