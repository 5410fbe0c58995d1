package lab

import (
	"os"
	"path/filepath"
	"strings"
)

// racing reports whether vipilot is to be built with Go's race detector, which
// make race asks for.
func racing() bool { return os.Getenv("VIPILOT_E2E_RACE") == "1" }

// raceLog is where the detector writes, with the number of the process added.
func (l *Lab) raceLog() string { return filepath.Join(l.Dir, "race") }

// Races is what the race detector has found in vipilot since it was asked for
// last; "" = nothing, or nobody looked.
func (l *Lab) Races() string {
	var all strings.Builder
	found, _ := filepath.Glob(l.raceLog() + ".*")
	for _, name := range found {
		text, err := os.ReadFile(name)
		if err != nil {
			return err.Error()
		}
		all.Write(text)
		_ = os.Remove(name)
	}
	return all.String()
}
