package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// NewAlone builds a lab of one node, LB1, without a network: its loopback
// device holds [VIP] and all of 10.77.0.0/16, so that whoever listens on the
// node is every application host at once. Close it as any lab.
func NewAlone(ctx context.Context, opts Options) (*Lab, error) {
	if err := Missing(); err != nil {
		return nil, err
	}
	l, err := claim(opts)
	if err != nil {
		return nil, err
	}
	l.LB1 = l.node("lb1")
	if err := errors.Join(l.binaries(ctx), l.Reboot(ctx)); err != nil {
		return nil, errors.Join(fmt.Errorf("build the lab: %w", err), l.Close())
	}
	return l, nil
}

// Reboot ends everything on the only node of a lab made by [NewAlone], empties
// its disk and boots it. What listens there from outside must do so anew.
func (l *Lab) Reboot(ctx context.Context) error {
	l.LB1.powerOff()
	if err := errors.Join(l.LB1.Forget(), l.LB1.powerOn()); err != nil {
		return err
	}
	return l.LB1.ip(ctx, "link set lo up", "addr add 10.77.0.0/16 dev lo", "addr add "+VIP+"/32 dev lo")
}

// Listen opens a TCP port on the host, served from outside.
func (h *Host) Listen(address string) (listener net.Listener, err error) {
	err = h.Do(func() (err error) {
		listener, err = net.Listen("tcp4", address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", h.Name, err)
	}
	return listener, nil
}
