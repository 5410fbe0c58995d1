// Package acme obtains and renews certificates over ACME (RFC 8555) with
// HTTP-01, safely from many nodes: they share a directory, in which one locks
// and orders, all find the answers to challenges, and all find the certificate.
// It knows neither services nor HAProxy: somebody has to lead requests for
// /.well-known/acme-challenge/ to its socket and to serve what it has.
//
//	c := acme.New(acme.Options{StateDir: "/var/lib/vipilot/acme", Socket: "/run/vipilot/haproxy/jail/acme.sock"})
//	c.Set([]acme.Order{{Issuer: acme.Issuer{Name: "letsencrypt", …}, Host: "todo.example.net"}})
//	go c.Run(ctx)
//	c.Open() // once HAProxy leads challenges to the socket
//	<-c.Changes()
//	c.Certificates()
//
// Locks, orders, challenges and renewals are certmagic's.
package acme
