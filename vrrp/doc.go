// Package vrrp is being written.
package vrrp
