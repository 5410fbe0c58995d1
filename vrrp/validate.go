package vrrp

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"time"
)

// Everything that enters keepalived.conf as a word fits one of these: none of
// them leaves room for a quote, a comment, a brace, a variable or a new line.
var (
	namePattern      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)
	interfacePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$`)
	pathPattern      = regexp.MustCompile(`^/[A-Za-z0-9_./:=,+-]+$`)
	passwordPattern  = regexp.MustCompile(`^[A-Za-z0-9_.:/=,+*%^&?()<>;-]{1,8}$`)
)

// Bounds of the protocol and of keepalived.
const (
	minAdvert        = 10 * time.Millisecond
	maxAdvert        = 40950 * time.Millisecond // VRRPv3: 12 bits of centiseconds
	maxAdvertV2      = 255 * time.Second
	maxPreemptDelay  = 1000 * time.Second
	centisecond      = 10 * time.Millisecond
	passwordAdvice   = "a password needs VRRPv2, whose adverts come in whole seconds: set advert_interval to 1s or more, or drop the password"
	passwordAlphabet = "1 to 8 characters out of letters, digits and _.:/=,+*%^&?()<>;-"
)

// validate returns every reason why want cannot become a keepalived.conf.
func (c Config) validate(runDir string) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !namePattern.MatchString(c.Node) {
		fault("node %q: not a name keepalived can take", c.Node)
	}
	if !pathPattern.MatchString(runDir) {
		fault("run directory %q: must be absolute, without spaces and quotes", runDir)
	}
	for _, file := range []string{c.TrackFile, c.SpeakerFile, c.LifeFile} {
		if file != "" && (!pathPattern.MatchString(file) || !filepath.IsAbs(file)) {
			fault("track file %q: must be absolute, without spaces and quotes", file)
		}
	}
	names, vrids, owners := map[string]bool{}, map[uint8]string{}, map[netip.Addr]string{}
	for _, i := range c.Instances {
		if err := i.validate(); err != nil {
			fault("instance %q: %w", i.Name, err)
		}
		if names[i.Name] {
			fault("instance %q: declared twice", i.Name)
		}
		names[i.Name] = true
		if other, ok := vrids[i.VRID]; ok {
			fault("instance %q: VRID %d is also that of %q", i.Name, i.VRID, other)
		}
		vrids[i.VRID] = i.Name
		for _, a := range i.Addresses {
			if other, ok := owners[a]; ok {
				fault("instance %q: address %s is also in %q", i.Name, a, other)
			}
			owners[a] = i.Name
		}
	}
	return errors.Join(append(faults, validateVirtual(c.Virtual))...)
}

func (i Instance) validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !namePattern.MatchString(i.Name) {
		fault("not a name keepalived can take")
	}
	if !interfacePattern.MatchString(i.Interface) {
		fault("interface %q: not the name of a network interface", i.Interface)
	}
	if i.VRID == 0 {
		fault("VRID 0: must be 1 to 255")
	}
	if i.Priority == 0 || i.Priority == 255 {
		fault("priority %d: must be 1 to 254", i.Priority)
	}
	if i.PreemptDelay < 0 || i.PreemptDelay > maxPreemptDelay {
		fault("preempt_delay %s: must be 0s to %s", i.PreemptDelay, maxPreemptDelay)
	}
	if len(i.Addresses) == 0 {
		fault("no address")
	}
	for _, a := range i.Addresses {
		if !plain(a) || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
			fault("address %q: not an address a node can hold for others", a)
		}
	}
	faults = append(faults, i.GARP.validate(), i.validateUnicast(), i.validatePassword())
	return errors.Join(faults...)
}

func (i Instance) validateUnicast() error {
	if len(i.UnicastPeers) == 0 {
		return nil
	}
	if !plain(i.Source) {
		return errors.New("unicast needs the address of this node")
	}
	for _, p := range i.UnicastPeers {
		switch {
		case !plain(p):
			return fmt.Errorf("unicast peer %q: not an address", p)
		case p == i.Source:
			return fmt.Errorf("unicast peer %s: is this node itself", p)
		case p.Is4() != i.Source.Is4():
			return fmt.Errorf("unicast peer %s: must be of the same family as this node's address %s", p, i.Source)
		}
	}
	return nil
}

// validatePassword checks the advert interval with it, since the password
// decides the protocol version. It never repeats the password.
func (i Instance) validatePassword() error {
	if i.Password == "" {
		if i.AdvertInterval < minAdvert || i.AdvertInterval > maxAdvert || i.AdvertInterval%centisecond != 0 {
			return fmt.Errorf("advert_interval %s: must be %s to %s in steps of %s", i.AdvertInterval, minAdvert, maxAdvert, centisecond)
		}
		return nil
	}
	if !passwordPattern.MatchString(i.Password) {
		return fmt.Errorf("password: must be %s", passwordAlphabet)
	}
	if i.inet6() {
		return fmt.Errorf("password: VRRP has none over IPv6, and this node's address is %s", i.Source)
	}
	if i.AdvertInterval < time.Second || i.AdvertInterval > maxAdvertV2 || i.AdvertInterval%time.Second != 0 {
		return fmt.Errorf("advert_interval %s: %s", i.AdvertInterval, passwordAdvice)
	}
	return nil
}

// inet6 reports whether the adverts go over IPv6: where the node has no IPv4
// address of its own.
func (i Instance) inet6() bool { return i.Source.Is6() }

// plain reports whether a is an address without zone and without disguise.
func plain(a netip.Addr) bool { return a.IsValid() && a.Zone() == "" && !a.Is4In6() }
