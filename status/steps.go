package status

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Steps measures how long the steps of a change take, for the metrics. Its
// methods may be called from several goroutines; nil measures nothing.
type Steps struct{ seconds *prometheus.HistogramVec }

// The steps between an event of an engine and a server that takes requests,
// and the one of a change of structure.
const (
	StepInspect = "inspect" // an engine's event arrived → its container was inspected
	StepAnswer  = "answer"  // an endpoint became known → it answered a first dial
	StepUpdate  = "update"  // HAProxy's runtime socket took a change
	StepReload  = "reload"  // a reload, with HAProxy's check of the files
)

// NewSteps has seen nothing yet.
func NewSteps() *Steps {
	return &Steps{seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "vipilot_step_seconds",
		Help:    "How long the steps of a change take: inspect, answer, update, reload.",
		Buckets: prometheus.ExponentialBuckets(0.000125, 2, 16), // to 4 s
	}, []string{"step"})}
}

// Took counts one step.
func (s *Steps) Took(step string, d time.Duration) {
	if s != nil {
		s.seconds.WithLabelValues(step).Observe(d.Seconds())
	}
}

// Metrics is for [ServerOptions].Extra.
func (s *Steps) Metrics() prometheus.Collector { return s.seconds }
