package sentinel

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Values of keepalived's track file. Any value but 0 is a fault.
const (
	trackGood = "0\n"
	trackBad  = "1\n"
	// trackFault is for the file of a weight: twice the weight is below all
	// priorities, which is a fault, while the weight itself is none.
	trackFault = "2\n"
)

// writeTrack changes the file in place, in one write of constant length, so
// keepalived's inotify sees one change and never an empty or missing file.
func writeTrack(file, value string) error {
	// Non-blocking, or a FIFO of that name would hold us for ever.
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return fmt.Errorf("write track file: %w", err)
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return fmt.Errorf("write track file: %w", err)
	}
	if !before.Mode().IsRegular() {
		return fmt.Errorf("write track file: %s is not a regular file", file)
	}
	if _, err := f.WriteAt([]byte(value), 0); err != nil {
		return fmt.Errorf("write track file: %w", err)
	}
	if before.Size() > int64(len(value)) { // somebody else's content
		if err := f.Truncate(int64(len(value))); err != nil {
			return fmt.Errorf("write track file: %w", err)
		}
	}
	return nil
}
