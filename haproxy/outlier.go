package haproxy

import (
	"fmt"
	"strings"

	"github.com/haproxytech/client-native/v6/config-parser/params"
)

// ProxyVersion is the version of the PROXY protocol that servers are told a
// client's address with.
type ProxyVersion string

// The versions; the zero value sends none.
const (
	ProxyV1 ProxyVersion = "v1"
	ProxyV2 ProxyVersion = "v2"
)

// options are the server keywords that send it.
func (v ProxyVersion) options() []params.ServerOption {
	switch v {
	case ProxyV1:
		return []params.ServerOption{word("send-proxy"), word("check-send-proxy")}
	case ProxyV2:
		return []params.ServerOption{word("send-proxy-v2"), word("check-send-proxy")}
	}
	return nil
}

// Outlier takes a server that fails real traffic out of rotation: after Errors
// failures in a row it is down, until its checks have passed Rise times again.
// The zero value watches nothing.
type Outlier struct {
	Errors  int
	Observe string // layer4: connections that fail; layer7 (http): also answers of 5xx
}

func (o Outlier) options() []params.ServerOption {
	if o.Errors == 0 {
		return nil
	}
	return []params.ServerOption{
		value("observe", o.Observe), value("error-limit", fmt.Sprint(o.Errors)), value("on-error", "mark-down"),
	}
}

// fault says what is wrong with the outlier, "" when nothing is.
func (o Outlier) fault(mode Mode) string {
	switch {
	case o.Errors < 0 || o.Errors > 10_000:
		return fmt.Sprintf("outlier: %d errors are not within 0..10000", o.Errors)
	case o.Errors > 0 && o.Observe != "layer4" && (o.Observe != "layer7" || mode != HTTP):
		return fmt.Sprintf("outlier: observe %q is not layer4, or in mode http layer7", o.Observe)
	}
	return ""
}

// writeRetries writes what is tried again. A connection that was refused has
// carried nothing, so any request may go to another server. A server that
// closed without an answer may have acted: only what RFC 9110, section 9.2.2,
// calls idempotent is sent again.
func (b *Backend) writeRetries(w *strings.Builder) {
	if b.Retries != nil {
		fmt.Fprintf(w, "  retries %d\n", *b.Retries)
	}
	if b.Mode != HTTP || (b.Retries != nil && *b.Retries == 0) {
		return
	}
	w.WriteString("  retry-on conn-failure empty-response\n")
	w.WriteString("  http-request disable-l7-retry unless { method GET HEAD OPTIONS TRACE PUT DELETE }\n")
}
