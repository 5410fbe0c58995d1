package frr

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
)

// FRR 10 has one daemon more, mgmtd, which gives zebra its configuration. Ours
// gives zebra none, but must be there: a zebra that cannot tell it of an
// interface tries again, and says so in its log, a hundred times a second.

// hasMgmtd reports whether this machine's FRR has a mgmtd.
func (s *Speaker) hasMgmtd() bool {
	_, ok := program("mgmtd")
	return ok
}

// space is the name by which our daemons keep apart from others. The sockets
// of mgmtd can be moved in no other way, and a system's mgmtd would take our
// zebra for its own.
func (s *Speaker) space() string {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(s.opts.RunDir))
	return fmt.Sprintf("vipilot-%08x", hash.Sum32())
}

// rooms are the directories that the daemons use because of their space: the
// first for sockets, which we make, the other for what they remember, which
// they make where they can.
func (s *Speaker) rooms() []string {
	return []string{filepath.Join(systemDir, s.space()), filepath.Join("/var/lib/frr", s.space())}
}

// tidy removes what was made outside of the run directory.
func (s *Speaker) tidy() {
	for _, dir := range s.rooms() {
		_ = os.RemoveAll(dir)
	}
}
