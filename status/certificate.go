package status

import (
	"fmt"
	"time"
)

// Certificate is one that this node serves to clients.
type Certificate struct {
	Names     []string  `json:"names"` // it is made for
	NotAfter  time.Time `json:"not_after"`
	Temporary bool      `json:"temporary,omitempty"` // self-signed, until the first is obtained
	Failures  int       `json:"failures,omitempty"`  // attempts to obtain or renew it that failed, since the last that did not
	Error     string    `json:"error,omitempty"`     // of the last attempt
}

// soon is how long before its end a certificate is worth a remark: one that is
// renewed by itself would have been by then.
const soon = 14 * 24 * time.Hour

// daysLeft is negative for one that has expired.
func (c Certificate) daysLeft(now time.Time) float64 { return c.NotAfter.Sub(now).Hours() / 24 }

// state is a word for it.
func (c Certificate) state(now time.Time) string {
	switch {
	case !now.Before(c.NotAfter):
		return "expired"
	case c.Temporary:
		return "temporary"
	case c.Failures > 0 || c.NotAfter.Sub(now) < soon:
		return "ending"
	}
	return "valid"
}

func (c Certificate) tone(now time.Time) tone {
	switch c.state(now) {
	case "expired":
		return bad
	case "valid":
		return good
	}
	return warn
}

// standing says how long it lasts and what is wrong with it.
func (c Certificate) standing(now time.Time) string {
	left := c.NotAfter.Sub(now)
	text := fmt.Sprintf("%s left, until %s", age(left), c.NotAfter.UTC().Format(time.DateOnly))
	if left <= 0 {
		text = fmt.Sprintf("expired %s ago: clients refuse it", age(-left))
	}
	if c.Temporary {
		text = "self-signed until one is obtained"
	}
	if c.Failures > 0 {
		text += fmt.Sprintf("; %d failed attempts: %s", c.Failures, oneLine(c.Error))
	}
	return text
}

// certificates sends the metrics of what is served.
func (s samples) certificates(all map[string]Certificate, now time.Time) {
	for name, c := range all {
		s.gauge("certificate_expiry_days", c.daysLeft(now), name)
		s.gauge("certificate_expiry_timestamp_seconds", float64(c.NotAfter.Unix()), name)
		s.flag("certificate_temporary", c.Temporary, name)
		s.gauge("certificate_failures", float64(c.Failures), name)
	}
}
