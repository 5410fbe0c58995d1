package vrrp

import (
	"cmp"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/vipilot/vipilot/render"
)

// Names in the run directory.
const (
	confFile    = "keepalived.conf"
	fifoFile    = "roles.fifo"
	memoryFile  = "roles.json"
	processFile = "process.json"
	pidFile     = "keepalived.pid"
	childFile   = "vrrp.pid"
	bfdFile     = "bfd.pid"
	logFile     = "keepalived.log"
	dumpFile    = "keepalived.json" // written by keepalived into its TMPDIR
)

// file is what the template is filled with.
type file struct {
	Node, FIFO                        string
	TrackFile, SpeakerFile, YieldFile string
	LifeFile                          string
	GARP                              garpText
	Paces                             []paceText
	Instances                         []instanceText
}

type instanceText struct {
	Name, Interface              string
	VRID, Priority               uint8
	Version                      int
	AdvertInterval, PreemptDelay string
	Preempt                      bool
	GARP                         *garpText
	YieldWeight                  int
	ReliefFile                   string // "" = it has none
	Source                       netip.Addr
	UnicastPeers                 []netip.Addr
	Password, Anchor             string
	SpeakerWeight                int // 0 = the speaker is not tracked
	Addresses                    []string
}

// Render gives the keepalived.conf for want: the instances, then the virtual
// servers. Equal wants give equal bytes.
// runDir is where keepalived will run, see [Options]. What keepalived could
// not take, or would take wrongly, is an error that names every fault.
func Render(want Config, runDir string) ([]byte, error) {
	if err := want.validate(runDir); err != nil {
		return nil, fmt.Errorf("render keepalived.conf: %w", err)
	}
	election, err := renderElection(want, runDir)
	if err != nil {
		return nil, err
	}
	virtual, err := renderVirtual(want.Virtual)
	return append(election, virtual...), err
}

// renderElection is the part that the VRRP process acts upon.
func renderElection(want Config, runDir string) ([]byte, error) {
	f := file{Node: want.Node, FIFO: filepath.Join(runDir, fifoFile), TrackFile: want.TrackFile,
		SpeakerFile: want.SpeakerFile, LifeFile: want.LifeFile, YieldFile: filepath.Join(runDir, yieldFile),
		GARP: DefaultGARP.text(), Paces: paces(want.Instances)}
	for _, i := range want.Instances {
		text := i.text()
		if name := i.reliefFile(); name != "" {
			text.ReliefFile = filepath.Join(runDir, name)
		}
		if want.SpeakerFile != "" && i.Announced && i.Preempt {
			text.SpeakerWeight = speakerWeight
		}
		f.Instances = append(f.Instances, text)
	}
	slices.SortFunc(f.Instances, func(a, b instanceText) int { return cmp.Compare(a.Name, b.Name) })
	return render.Execute("keepalived.conf.tmpl", f)
}

func (i Instance) text() instanceText {
	t := instanceText{
		Name: i.Name, Interface: i.Interface, VRID: i.VRID, Priority: i.Priority, Version: 3,
		AdvertInterval: seconds(i.AdvertInterval),
		Preempt:        i.Preempt,
		GARP:           i.GARP.ownText(),
		Source:         i.Source,
		UnicastPeers:   slices.SortedFunc(slices.Values(i.UnicastPeers), netip.Addr.Compare),
		Password:       i.Password,
		Anchor:         i.anchor().String() + " dev lo no_track",
	}
	if i.anchor().Addr().Is4() {
		t.Anchor += " scope host"
	}
	if i.Password != "" {
		t.Version = 2
	}
	if i.Preempt {
		t.YieldWeight = yieldWeight
	}
	if i.PreemptDelay > 0 {
		t.PreemptDelay = seconds(i.PreemptDelay)
	}
	for _, a := range i.sortedAddresses() {
		t.Addresses = append(t.Addresses, fmt.Sprintf("%s/%d dev %s", a, a.BitLen(), i.Interface))
	}
	return t
}

// anchor is the one address an instance advertises. keepalived demands at
// least one, and nodes that advertise different lists become two masters; this
// one depends on the VRID alone, so it never changes. It is link-local and
// lives on the loopback interface, where nothing is announced for it on the
// wire, nothing watches it, and it is never a source address.
func (i Instance) anchor() netip.Prefix {
	a := netip.AddrFrom4([4]byte{169, 254, 118, i.VRID})
	if i.inet6() {
		a = netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 13: 118, 15: i.VRID})
	}
	return netip.PrefixFrom(a, a.BitLen())
}

func (i Instance) sortedAddresses() []netip.Addr {
	return slices.SortedFunc(slices.Values(i.Addresses), netip.Addr.Compare)
}

// seconds writes d as keepalived reads it: 0.2, 1, 2.55.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }
