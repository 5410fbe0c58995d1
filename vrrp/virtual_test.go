package vrrp

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func at(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }

// dns is the virtual server most tests start from.
func dns() VirtualServer {
	return VirtualServer{
		Service: "dns", Address: at("203.0.113.10:53"), Scheduler: WeightedRoundRobin, Interval: time.Second, Fall: 3,
		Servers: []RealServer{{at("10.77.0.12:5353"), 0}, {at("10.77.0.11:5353"), 100}},
	}
}

func dnsWith(change func(*VirtualServer)) VirtualServer {
	v := dns()
	change(&v)
	return v
}

// virtualConfigs are among the good ones.
func virtualConfigs() map[string]Config {
	return map[string]Config{
		"udp": {Node: "lb1", Instances: []Instance{public()}, Virtual: []VirtualServer{
			dnsWith(func(v *VirtualServer) {
				v.Address, v.Scheduler, v.Interval, v.Fall = at("[2001:db8::10]:53"), MaglevHash, 200*time.Millisecond, 2
				v.Servers, v.Backup = []RealServer{{at("[2001:db8::11]:5353"), 256}}, at("[2001:db8::12]:53")
			}),
			dnsWith(func(v *VirtualServer) { v.Persistence, v.Scheduler = 30*time.Minute, WeightedLeastConn }),
		}},
		"udp_alone": {Node: "lb1", Virtual: []VirtualServer{
			dns(),
		}},
	}
}

func TestVirtualRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*VirtualServer)
		want   string
	}{
		"hostile name": {func(v *VirtualServer) { v.Service = "a\n}" }, "not a name"},
		"port":         {func(v *VirtualServer) { v.Address = at("203.0.113.10:0") }, "not an address and a port"},
		"scheduler":    {func(v *VirtualServer) { v.Scheduler = "rr\n" }, "none of wrr, wlc and mh"},
		"persistence":  {func(v *VirtualServer) { v.Persistence = time.Millisecond }, "whole seconds"},
		"checks":       {func(v *VirtualServer) { v.Fall = 1 }, "2 to 100"},
		"no server":    {func(v *VirtualServer) { v.Servers = nil }, "no server"},
		"family":       {func(v *VirtualServer) { v.Servers[0].Address = at("[2001:db8::1]:53") }, "not of the family"},
		"link-local":   {func(v *VirtualServer) { v.Servers[0].Address = at("[fe80::1]:53") }, "not an address"},
		"weight":       {func(v *VirtualServer) { v.Servers[0].Weight = -1 }, "weight -1"},
		"nobody":       {func(v *VirtualServer) { v.Servers = v.Servers[:1] }, "no server takes new clients"},
		"twice":        {func(v *VirtualServer) { v.Servers[0] = v.Servers[1] }, "is there twice"},
		"backup":       {func(v *VirtualServer) { v.Backup = v.Servers[1].Address }, "must be another server"},
	} {
		_, err := Render(Config{Node: "lb1", Virtual: []VirtualServer{dnsWith(c.change)}}, testRunDir)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Render = %v, want %q in it", name, err, c.want)
		}
	}
	if _, err := Render(Config{Node: "lb1", Virtual: []VirtualServer{dns(), dns()}}, testRunDir); err == nil {
		t.Error("rendered one virtual server twice")
	}
}

func TestParseIPVS(t *testing.T) {
	got := parseIPVS(`IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
UDP  CB00710A:0035 wrr persistent 1800
  -> 0A4D000B:14E9      Masq    100    0          12
  -> 0A4D000C:14E9      Masq    0      0          0
TCP  CB00710A:0050 rr
  -> 0A4D000D:0050      Masq    1      0          0
UDP  [2001:0db8:0000:0000:0000:0000:0000:0010]:0035 mh
  -> [2001:0db8:0000:0000:0000:0000:0000:0011]:14E9      Masq    256    0          0
UDP  nonsense rr
  -> 0A4D000E:0050      Masq    1      0          0
`)
	want := map[netip.AddrPort]map[netip.AddrPort]int{
		at("203.0.113.10:53"):   {at("10.77.0.11:5353"): 100, at("10.77.0.12:5353"): 0},
		at("[2001:db8::10]:53"): {at("[2001:db8::11]:5353"): 256},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// fakeChecker passes every file, and as a checker notes each time it is told
// to read its own; as the VRRP process it would do nothing but end.
const fakeChecker = `
case " $* " in
*" --config-test "*) exit 0;;
*" --check "*) ;;
*) exit 1;;
esac
trap 'echo reload >> "$TMPDIR/told"' HUP
trap 'echo end >> "$TMPDIR/told"; exit 0' TERM
echo start >> "$TMPDIR/told"
while :; do sleep 0.02; done
`

// The virtual servers have a process of their own, which lives on when the
// controller is another one, and reads its file only when its blocks change.
func TestChecker(t *testing.T) {
	dir := t.TempDir()
	missing := errors.New("no IPVS")
	opts := Options{RunDir: dir, Binary: fakeKeepalived(t, fakeChecker), IPVS: func() error { return missing }}
	k := New(opts)
	t.Cleanup(func() { _ = New(opts).Close(t.Context()) })
	want := Config{Node: "lb1", Virtual: []VirtualServer{dns()}}
	set := func(k *Keepalived, want Config, change bool) {
		t.Helper()
		changed, err := k.Set(t.Context(), want)
		if err != nil || changed != change {
			t.Fatalf("Set = %v, %v, want %v", changed, err, change)
		}
	}
	told := func(want string) {
		t.Helper()
		deadline := time.Now().Add(patience)
		for {
			data, _ := os.ReadFile(filepath.Join(dir, "told"))
			got := strings.Join(strings.Fields(string(data)), " ")
			if got == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("the checker was told %q, want %q", got, want)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	set(k, want, false) // no IPVS: nothing runs, and nothing fails
	if b := k.Balance(); b.Running || b.Missing == nil || k.Status().Err != nil {
		t.Errorf("without IPVS: %+v, %v", b, k.Status().Err)
	}
	missing = nil
	set(k, want, true)
	told("start")
	set(k, want, false)

	k = New(opts) // another controller adopts it
	set(k, want, false)
	pid := k.Balance().PID
	want.Virtual = []VirtualServer{dnsWith(func(v *VirtualServer) { v.Servers[0].Weight = 50 })}
	set(k, want, true)
	told("start reload")

	if p, err := os.FindProcess(pid); err != nil || p.Kill() != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
	<-k.checker.process.Done()
	k.checker.look(t.Context())
	told("start reload start")
	if b := k.Balance(); !b.Running || b.PID == pid || b.Reloads != 1 {
		t.Errorf("after its end: %+v", b)
	}
	set(k, Config{Node: "lb1"}, true)
	told("start reload start end")
}

// What changes in the virtual servers is nothing to the election.
func TestElectionPart(t *testing.T) {
	with, err := renderElection(virtualConfigs()["udp"], testRunDir)
	if err != nil {
		t.Fatal(err)
	}
	without, err := Render(Config{Node: "lb1", Instances: []Instance{public()}}, testRunDir)
	if err != nil || string(with) != string(without) {
		t.Errorf("the election's part is another one with virtual servers (%v)", err)
	}
}
