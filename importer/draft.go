package importer

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// vip is a VIP in the making.
type vip struct {
	name      string
	addresses []netip.Addr
	vrrp      *vrrp    // nil = ha: static
	nodes     []string // in order of preference; nil = all
	from      string
}

type vrrp struct {
	id           int
	iface        string
	advert       time.Duration
	noPreempt    bool
	preemptDelay time.Duration
	unicast      bool
	garp         *mapping // nil = as vipilot does
	password     string   // name of the file
}

// service is a service in the making.
type service struct {
	name    string
	from    []string // places it comes from
	notes   []string // further lines for its comment
	vip     string
	match   match
	tcp     bool
	port    uint16
	tls     *termination
	deny    []string
	closed  []string // why nobody may be let in before a person has looked
	filters filters
	backend backend
	files   map[string][]byte
}

// keep adds a file that the service names.
func (s *service) keep(name string, data []byte) {
	if s.files == nil {
		s.files = make(map[string][]byte)
	}
	s.files[name] = data
}

// closeUntilSeen keeps everybody out: a protection was lost.
func (s *service) closeUntilSeen(why string) {
	if !slices.Contains(s.closed, why) {
		s.closed = append(s.closed, why)
	}
}

// termination is TLS that ends at the node.
type termination struct {
	port     uint16
	file     string // certificate_file
	dir      string // certificates_dir
	redirect bool
	hsts     time.Duration
}

// filters are what happens to requests and responses on the way.
type filters struct {
	strip, prefix    string
	redirectHost     string
	redirectCode     int
	reqSet, reqAdd   map[string]string
	reqDelete        []string
	respSet, respAdd map[string]string
	respDelete       []string
	maxSize          string
	rateRequests     int
	ratePer          time.Duration
	compress         bool
	usersFile, realm string
	trustedProxies   []string
	maintenance      bool
	hstsFor          time.Duration // until it is known whether there is TLS
}

// backend is who serves.
type backend struct {
	containers *selector
	servers    []server
	port       uint16
	network    string
	balance    string
	cookie     string
	source     time.Duration
	check      check
	maxconn    int
	retries    *int
	proxy      string
	h2         bool
	tls        *backendTLS
	slowStart  time.Duration
	timeouts   map[string]time.Duration
}

type selector struct{ compose, swarm, name string }

type server struct {
	address string
	backup  bool
	weight  int
	from    string
}

type check struct {
	path       string
	interval   time.Duration
	rise, fall int
}

type backendTLS struct {
	ca, name string
	insecure bool
}

// lower gives the texts in lower case, sorted, each once.
func lower(texts []string) []string {
	var out []string
	for _, t := range texts {
		out = append(out, strings.ToLower(strings.TrimSuffix(t, ".")))
	}
	slices.Sort(out)
	return slices.Compact(out)
}
