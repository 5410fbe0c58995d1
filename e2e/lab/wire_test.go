package lab

import (
	"bytes"
	"testing"
)

func TestParseUpdate(t *testing.T) {
	message := func(kind byte) []byte { return append(bytes.Repeat([]byte{0xff}, 16), 0, 19, kind) }
	packet := func(port byte, messages ...[]byte) []byte {
		p := make([]byte, 40)
		p[0], p[9], p[12], p[13], p[14], p[15] = 0x45, 6, 10, 77, 0, 21
		p[23], p[32] = port, 5<<4
		p = append(p, bytes.Join(messages, nil)...)
		p[3] = byte(len(p))
		return append(p, 0, 0) // padding of the wire
	}
	for name, c := range map[string]struct {
		packet []byte
		found  bool
	}{
		"nothing":              {nil, false},
		"an update":            {packet(179, message(2)), true},
		"behind a keepalive":   {packet(179, message(4), message(2)), true},
		"a keepalive":          {packet(179, message(4)), false},
		"another port":         {packet(80, message(2)), false},
		"the middle of one":    {packet(179, []byte("something that is no header at all")), false},
		"a length of nothing":  {packet(179, append(bytes.Repeat([]byte{0xff}, 16), 0, 0, 4)), false},
		"an impossible header": {append([]byte{0x4f}, packet(179)[1:]...), false},
	} {
		from, found := parseUpdate(c.packet)
		if found != c.found || found && from.String() != "10.77.0.21" {
			t.Errorf("%s: %v, %v", name, from, found)
		}
	}
}
