package vrrp

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// FuzzIPVS gives any text for the kernel's table of virtual servers.
func FuzzIPVS(f *testing.F) {
	f.Add("UDP  CB00710A:0035 wrr persistent 1800\n  -> 0A4D000B:14E9      Masq    100    0          12\n")
	f.Add("UDP  [2001:0db8:0000:0000:0000:0000:0000:0010]:0035 mh\n  -> [2001::11]:14E9      Masq    256    0          0\nTCP x\n -> a b c d\n")
	f.Add("UDP :\n -> [:]:0 x 9999999999999999999\nUDP [\n")
	f.Fuzz(func(t *testing.T, text string) {
		for at, servers := range parseIPVS(text) {
			if !at.IsValid() {
				t.Errorf("a virtual server at %v", at)
			}
			for server := range servers {
				if !server.IsValid() {
					t.Errorf("a server at %v", server)
				}
			}
		}
	})
}

// FuzzDump gives any text for what keepalived writes of its state, and for what
// an earlier controller remembered.
func FuzzDump(f *testing.F) {
	f.Add(`[{"data":{"iname":"public","vrid":51,"base_priority":150,"state":2,"evips":["203.0.113.10 dev eth0 scope global set"]}}]`)
	f.Add(`[{"data":{"state":99,"evips":["","/","x/y z","2001:db8::10/128"]}},null,{}]`)
	f.Add(`{"pid":17,"start_time":5,"loaded":"x","roles":{"public":"master","":"stop","x":"y"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var dump []dumped
		if json.Unmarshal([]byte(text), &dump) == nil {
			for _, n := range notices(dump) {
				if n.Role != Backup && n.Role != Master && n.Role != Fault {
					t.Errorf("role %q", n.Role)
				}
			}
			_ = differs(dump, Config{Instances: []Instance{{Name: "public", VRID: 51}}})
		}
		file := filepath.Join(t.TempDir(), "roles.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_ = newMemory(file).recall(nil)
	})
}

// FuzzInspect reads any keepalived.conf before keepalived does.
func FuzzInspect(f *testing.F) {
	f.Add("vrrp_instance a {\n virtual_ipaddress {\n 10.77.0.1/32 dev eth0\n 10.77.0.1\n }\n auth_pass \"x\"\n}\n")
	f.Add("auth_pass\n{\n}\n# x\nvirtual_ipaddress {\n/\n")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := inspect(text); err == nil && len(text) == 0 {
			t.Error("an empty file was taken")
		}
	})
}
