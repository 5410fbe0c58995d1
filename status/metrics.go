package status

import (
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metricsHandler serves a registry of our own: nothing that a library
// registers by itself gets in.
func (s *Server) metricsHandler() http.Handler {
	registry := prometheus.NewRegistry()
	all := []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newCollector(s.report, s.opts.Version),
	}
	for _, c := range append(all, s.opts.Extra...) {
		if err := registry.Register(c); err != nil {
			s.log.Error("register metrics", "err", err)
		}
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 8,
	})
}

// collector turns the report of the moment into metrics at each scrape, so
// what is gone from the report is gone from the metrics.
type collector struct {
	report  func() *Report
	version string
	metrics map[string]*prometheus.Desc
}

func newCollector(report func() *Report, version string) *collector {
	c := &collector{report: report, version: version, metrics: make(map[string]*prometheus.Desc)}
	for _, m := range []struct{ name, help, labels string }{
		{"build_info", "The program's version; always 1.", "version goversion"},
		{"ready", "Whether everything wanted is applied.", ""},
		{"config_info", "The revision in force; always 1.", "revision"},
		{"config_last_applied_timestamp_seconds", "When the revision in force was applied.", ""},
		{"config_error", "Whether the newest revision was refused or could not be read.", ""},
		{"config_pending", "Whether a revision waits or was refused.", ""},
		{"config_pending_info", "The revision that is not in force and why (refused, guard, canary, taken_back); always 1.", "revision reason"},
		{"haproxy_up", "Whether HAProxy runs.", ""},
		{"haproxy_reloads_total", "Reloads of HAProxy.", ""},
		{"haproxy_old_workers", "Workers of before a reload that finish their sessions.", ""},
		{"haproxy_runtime_updates_total", "Changes made to HAProxy without a reload.", ""},
		{"keepalived_up", "Whether keepalived runs; absent where no VIP needs it.", ""},
		{"udp_up", "Whether the keepalived of UDP services runs; absent where there are none.", ""},
		{"keepalived_reloads_total", "Reloads of keepalived.", ""},
		{"speaker_up", "Whether the sentinel with the speaker runs.", ""},
		{"frr_up", "Whether every FRR daemon that is needed runs; absent where none is.", ""},
		{"neighbor_full", "Whether the OSPF neighbor is full.", "neighbor"},
		{"peer_established", "Whether the BGP session is established.", "peer"},
		{"peer_prefixes_announced", "Prefixes announced to the peer.", "peer"},
		{"host_connected", "Whether the host's engine answers.", "host"},
		{"host_containers", "Containers known on the host.", "host"},
		{"vip_role", "1 for the role this node has for the VIP.", "vip role"},
		{"vip_announced", "Whether any prefix of the VIP is announced by this node.", "vip"},
		{"endpoints", "Endpoints of the service by state.", "service state"},
		{"certificate_expiry_days", "Days until the certificate expires; negative when it has.", "certificate"},
		{"certificate_expiry_timestamp_seconds", "When the certificate expires.", "certificate"},
		{"certificate_temporary", "Whether the certificate is self-signed until one is obtained.", "certificate"},
		{"certificate_failures", "Attempts to obtain or renew it that failed, since the last that did not.", "certificate"},
		{"rejected", "Containers that the service selected and cannot use, by reason.", "service reason"},
	} {
		c.metrics[m.name] = prometheus.NewDesc("vipilot_"+m.name, m.help, strings.Fields(m.labels), nil)
	}
	return c
}

// Describe sends the descriptions of all metrics.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.metrics {
		out <- d
	}
}

// Collect sends the metrics of the report of this moment.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	r := c.report()
	s := samples{c.metrics, out}
	s.gauge("build_info", 1, c.version, runtime.Version())
	s.flag("ready", r.Ready)
	s.config(r.Config)
	s.components(r.Components)
	for name, h := range r.Hosts {
		s.flag("host_connected", h.State == "connected", name)
		s.gauge("host_containers", float64(h.Containers), name)
	}
	for name, v := range r.VIPs {
		s.vip(name, v)
	}
	s.certificates(r.Certificates, time.Now())
	for name, service := range r.Services {
		s.service(name, service)
	}
}

// samples sends values by the name of their metric.
type samples struct {
	metrics map[string]*prometheus.Desc
	out     chan<- prometheus.Metric
}

func (s samples) send(name string, kind prometheus.ValueType, value float64, labels []string) {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "?")
	}
	m, err := prometheus.NewConstMetric(s.metrics[name], kind, value, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(s.metrics[name], err)
	}
	s.out <- m
}

func (s samples) gauge(name string, value float64, labels ...string) {
	s.send(name, prometheus.GaugeValue, value, labels)
}

func (s samples) counter(name string, value int) {
	s.send(name, prometheus.CounterValue, float64(value), nil)
}

func (s samples) flag(name string, on bool, labels ...string) {
	if on {
		s.gauge(name, 1, labels...)
		return
	}
	s.gauge(name, 0, labels...)
}

func (s samples) config(c Config) {
	if c.Revision != "" {
		s.gauge("config_info", 1, c.Revision)
	}
	if c.AppliedAt != nil {
		s.gauge("config_last_applied_timestamp_seconds", float64(c.AppliedAt.UnixMilli())/1000)
	}
	s.flag("config_error", c.Error != nil)
	s.flag("config_pending", c.Pending != nil)
	if c.Pending != nil && *c.Pending != "" {
		s.gauge("config_pending_info", 1, *c.Pending, c.PendingReason)
	}
}

func (s samples) components(c Components) {
	s.flag("haproxy_up", c.HAProxy.State == "running")
	s.counter("haproxy_reloads_total", c.HAProxy.Reloads)
	s.gauge("haproxy_old_workers", float64(c.HAProxy.OldWorkers))
	s.counter("haproxy_runtime_updates_total", c.HAProxy.RuntimeUpdates)
	if c.Keepalived.State != "off" { // 0 would be an alarm
		s.flag("keepalived_up", c.Keepalived.State == "running")
		s.counter("keepalived_reloads_total", c.Keepalived.Reloads)
	}
	if u := c.Keepalived.Checker; u != nil {
		s.flag("udp_up", u.State == "running")
	}
	if c.Speaker.State != "off" {
		s.flag("speaker_up", c.Speaker.State == "running")
	}
	if c.FRR != nil {
		s.flag("frr_up", c.FRR.State == "running")
		for name, n := range c.FRR.Neighbors {
			s.flag("neighbor_full", n.State == "full", name)
		}
	}
	for name, p := range c.Speaker.Peers {
		s.flag("peer_established", p.State == "established", name)
		s.gauge("peer_prefixes_announced", float64(p.PrefixesAnnounced), name)
	}
}

func (s samples) vip(name string, v VIP) {
	for _, role := range []string{"master", "backup", "fault", "active"} {
		s.flag("vip_role", v.Role == role, name, role)
	}
	s.flag("vip_announced", len(v.Announced) > 0, name)
}

func (s samples) service(name string, service Service) {
	states := map[string]int{"ready": 0, "starting": 0, "drain": 0, "down": 0}
	for _, e := range service.Endpoints {
		states[e.State]++
	}
	for state, n := range states {
		s.gauge("endpoints", float64(n), name, state)
	}
	reasons := make(map[string]int)
	for _, r := range service.Rejected {
		reasons[r.Reason]++
	}
	for reason, n := range reasons {
		s.gauge("rejected", float64(n), name, reason)
	}
}
