package routing

import "testing"

// FuzzParseCommunity wants what is taken to be what it says.
func FuzzParseCommunity(f *testing.F) {
	for _, text := range []string{"65010:100", "65010:1:2", "4294967295:4294967295:4294967295", "65536:1", ":", "1:", "no-export", "-1:1", "01:1", "1:1:1:1", "１:1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := ParseCommunity(text); err != nil {
			return
		}
		for _, c := range text {
			if (c < '0' || c > '9') && c != ':' {
				t.Errorf("%q was taken", text)
			}
		}
	})
}
