package discovery

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestCandidates(t *testing.T) {
	c := Container{
		Name: "web-1", State: Running, Exposed: []uint16{8080}, Labels: map[string]string{},
		Networks: []Attachment{on("lan", "macvlan", "10.77.9.2"), on("mesh", "overlay", "10.0.1.2"), on("web", "bridge", "172.18.0.2")},
		Published: []Published{
			{Port: 9090, HostIP: ip("0.0.0.0"), HostPort: 9090},
			{Port: 8080, HostIP: ip("::"), HostPort: 32768}, {Port: 8080, HostIP: ip("0.0.0.0"), HostPort: 32768},
			{Port: 8080, HostIP: ip("127.0.0.1"), HostPort: 80},
		},
	}
	var lines []string
	for _, one := range Candidates(c, Want{Host: "app1", HostAddress: ip("10.77.0.11"), Direct: map[string]bool{}}) {
		lines = append(lines, fmt.Sprintf("%v %s: %s", one.Used, one.Where, one.Why))
	}
	want := []string{
		`true network "lan": driver macvlan puts containers on the wire`,
		`false network "mesh": driver "overlay", not declared direct`,
		`false network "web": a bridge inside another machine, not declared direct`,
		`false published port 0.0.0.0:32768: port 8080 on every address of the host; another way comes first`,
		`false published port 127.0.0.1:80: only the host itself reaches its loopback`,
		`false published port 0.0.0.0:9090: leads to port 9090, not 8080`,
	}
	if !slices.Equal(lines, want) {
		t.Errorf("candidates\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

// Whatever Resolve chooses is the one candidate in use, and where it chooses
// nothing none is.
func TestCandidatesAgreeWithResolve(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	for range 50_000 {
		c := Container{Name: "c", State: Running, HostMode: random.IntN(9) == 0, NoNetwork: random.IntN(20) == 0, Labels: map[string]string{}}
		for _, name := range []string{"a", "b"} {
			if random.IntN(3) > 0 {
				c.Networks = append(c.Networks, on(name, pick("bridge", "macvlan", "overlay", "weave"), pick("", "172.18.0.2", "172.18.0.3", "2001:db8::9")))
			}
		}
		for range random.IntN(3) {
			p := Published{Port: uint16(8080 + random.IntN(2)), HostPort: uint16(random.IntN(3))}
			p.HostIP, _ = netip.ParseAddr(pick("", "0.0.0.0", "::", "127.0.0.1", "10.77.0.11"))
			c.Published = append(c.Published, p)
		}
		c.Exposed = [][]uint16{nil, {8080}, {8080, 8081}}[random.IntN(3)]
		if random.IntN(4) == 0 {
			c.Labels["vipilot.network"] = pick("a", "b", "x", "!")
		}
		want := Want{Host: "h", Local: random.IntN(4) == 0, Port: uint16(random.IntN(2) * 8080), Direct: map[string]bool{}, Network: pick("", "", "a")}
		if random.IntN(4) > 0 {
			want.HostAddress = ip("10.77.0.11")
		}
		if random.IntN(3) == 0 {
			want.Proxy = tier
		}
		if random.IntN(3) == 0 {
			want.Direct[pick("a", "b")] = random.IntN(2) == 0
		}
		endpoint, refusal := Resolve(c, want)
		var used []netip.AddrPort
		for _, one := range Candidates(c, want) {
			if one.Used {
				used = append(used, one.Address)
			}
			if one.Where == "" || one.Why == "" {
				t.Fatalf("a candidate without words: %+v", one)
			}
		}
		if refusal == nil && !slices.Equal(used, []netip.AddrPort{endpoint.Address}) || refusal != nil && len(used) > 0 {
			t.Fatalf("container %+v, want %+v: resolved %v, %v; in use %v", c, want, endpoint.Address, refusal, used)
		}
	}
}
