package config

import (
	"hash/fnv"
	"time"
)

// readVIP reads vips.<name>. What depends on the nodes is filled in by place.
func readVIP(v value) VIP {
	vip := VIP{Name: v.name(), HA: VRRP, VRRP: defaultVRRP(v.name()), Pos: v.keyPos()}
	object([]value{v}, keys{
		"addresses": into(&vip.Addresses, someOf(asServiceAddress)),
		"ha":        into(&vip.HA, word(VRRP, Anycast, Static)),
		"nodes":     into(&vip.Nodes, someOf(asRef(kindNode))),
		"vrrp":      func(o value) { readVRRP(o, &vip.VRRP) },
		"announce":  func(a value) { vip.Announce = readAnnounce(a) },
	}, "addresses")

	if vip.HA == VRRP {
		return vip
	}
	vip.VRRP = VRRPOptions{}
	if v.has("vrrp") {
		v.dig("vrrp").faultf("has no effect with ha: %s", vip.HA)
	}
	if a := v.dig("announce"); a.has("backup") {
		a.dig("backup").faultf("has no effect with ha: %s", vip.HA).Hint = "there are no backups without VRRP"
	}
	return vip
}

func defaultVRRP(name string) VRRPOptions {
	return VRRPOptions{
		ID:             derivedVRID(name),
		AdvertInterval: 200 * time.Millisecond,
		Preempt:        true,
		PreemptDelay:   5 * time.Second,
		GARP:           GARP{Delay: time.Second, Repeat: 2, Refresh: time.Minute},
	}
}

// readGARP reads vips.<name>.vrrp.garp over the defaults in g.
func readGARP(v value, g *GARP) {
	object([]value{v}, keys{
		"delay":    into(&g.Delay, asDuration(0, 1000*time.Second, time.Second)),
		"repeat":   into(&g.Repeat, number[uint8](1, 100)),
		"refresh":  into(&g.Refresh, asDuration(0, 24*time.Hour, time.Second)),
		"interval": into(&g.Interval, asDuration(0, time.Second, time.Microsecond)),
	})
}

// readVRRP reads vips.<name>.vrrp over the defaults in o.
func readVRRP(v value, o *VRRPOptions) {
	const centi = 10 * time.Millisecond // VRRP counts hundredths of a second, in twelve bits
	object([]value{v}, keys{
		"id":              into(&o.ID, number[uint8](1, 255)),
		"interface":       into(&o.Interface, asInterface),
		"advert_interval": into(&o.AdvertInterval, asDuration(centi, 4095*centi, centi)),
		"preempt":         into(&o.Preempt, asBool),
		"preempt_delay":   into(&o.PreemptDelay, asDuration(0, 1000*time.Second, time.Millisecond)),
		"unicast":         into(&o.Unicast, asBool),
		"password_file":   into(&o.Password, asVRRPPassword),
		"garp":            func(g value) { readGARP(g, &o.GARP) },
	})
	if !o.Preempt {
		o.PreemptDelay = 0
		if v.has("preempt_delay") {
			v.dig("preempt_delay").faultf("has no effect with preempt: false")
		}
	}
	switch {
	case o.Password == "":
	case o.AdvertInterval%time.Second == 0:
		v.dig("password_file").warnf("VRRPv2 sends the password in the clear with every advert; it keeps out mistakes, nobody else").
			Hint = "unicast: true and a firewall that takes VRRP from the other nodes only keep out more, and allow adverts below a second"
	default:
		v.dig("password_file").warnf("a password needs VRRPv2, whose adverts come in whole seconds; at %s VRRPv3 is used, without the password", brief(o.AdvertInterval)).
			Hint = "set advert_interval to 1s, or drop the password and use unicast and a firewall"
	}
}

// derivedVRID gives the virtual router ID of a VIP that sets none. It depends
// on the name alone, so that a new VIP never changes that of another.
func derivedVRID(name string) uint8 {
	hash := fnv.New32a()
	hash.Write([]byte(name))
	return uint8(hash.Sum32()%255) + 1
}

// readAnnounce reads vips.<name>.announce.
func readAnnounce(v value) *Announce {
	a := Announce{When: WhenServing, Backup: BackupWithdraw}
	var protocols []string
	med, prepend, last := uint32(100), uint8(3), "withdraw"
	object([]value{v}, keys{
		"protocols":   into(&protocols, someOf(word("bgp", "ospf"))),
		"when":        into(&a.When, word(WhenServing, WhenProxy)),
		"backup":      into(&a.Backup, word(BackupWithdraw, BackupMED, BackupPrepend)),
		"communities": into(&a.Communities, someOf(asCommunity)),

		"med":              into(&med, number[uint32](1, 1<<32-1)),
		"prepend":          into(&prepend, number[uint8](1, 20)),
		"local_preference": into(&a.LocalPreference, number[uint32](1, 1<<32-1)),
		"last":             into(&last, word("withdraw", "keep")),
	}, "protocols")
	for _, p := range protocols {
		a.BGP, a.OSPF = a.BGP || p == "bgp", a.OSPF || p == "ospf"
	}
	for _, key := range []string{"communities", "med", "prepend", "local_preference"} {
		if len(protocols) > 0 && !a.BGP && v.has(key) {
			v.dig(key).faultf("has no effect without protocol bgp")
		}
	}
	switch a.Backup {
	case BackupMED:
		a.MED = med
	case BackupPrepend:
		a.Prepend = prepend
	}
	checkBackupKeys(&a, v)
	if a.KeepLast = last == "keep"; a.KeepLast && a.When == WhenProxy {
		v.dig("last").faultf("has no effect with when: proxy").Hint = "without when: serving no endpoint is asked for"
	}
	return &a
}

// checkBackupKeys wants med and prepend only where backup asks for them, and
// backup only where BGP can carry it.
func checkBackupKeys(a *Announce, v value) {
	if v.has("med") && a.Backup != BackupMED {
		v.dig("med").faultf("has no effect without backup: med").Hint = "it is what a backup's path has; set med at a peer for all paths"
	}
	if v.has("prepend") && a.Backup != BackupPrepend {
		v.dig("prepend").faultf("has no effect without backup: prepend").Hint = "it is what a backup's path has; set prepend at a peer for all paths"
	}
	if a.Backup != BackupWithdraw && a.OSPF && !a.BGP {
		v.dig("backup").faultf("has no effect without protocol bgp").Hint = "OSPF announces what the node holds"
	}
}
