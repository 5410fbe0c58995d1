// Package haproxy is being written.
package haproxy
