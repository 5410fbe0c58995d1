package lab

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxInFlight bounds the requests a load has under way; what is due beyond it
// counts as failed, kind "overload". It is more than the rate of any scenario
// makes until the first requests have timed out: the clients' own limit is no
// fault of the service.
const maxInFlight = 4096

// Load sends requests at a fixed rate, whether or not earlier ones have been
// answered, as the public does. Latency is counted from the moment a request
// was due.
type Load struct {
	From      *Host
	URL       string // with an IP address
	Name      string // the Host header; default the address
	Method    string // default GET; Go repeats a GET whose kept connection was closed, as browsers do, but no POST
	Rate      int    // requests a second
	KeepAlive bool
	TLS       *tls.Config   // for https; a kept connection speaks HTTP/2 then
	Timeout   time.Duration // of one request, default 5s
	Slow      time.Duration // an answer that took longer is trouble as well, default 1s
}

// Result is what a load has seen.
type Result struct {
	OK, Failed int
	Errors     map[string]int // failed requests by kind: refused, reset, timeout, status 503, …
	Answers    map[string]int // by container
	FirstError error
	LongestGap time.Duration // longest time without a good answer, while there were requests

	Connections int // the most that were open at once

	latencies []time.Duration
	troubled  []time.Time // when the requests with trouble were due
}

// Running is a load at work.
type Running struct {
	load   Load
	client *http.Client
	stop   context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	result   Result
	lastGood time.Time
	ended    time.Time // when the last request was sent, zero before
	open     int       // connections
}

// Run sends for a time and returns when every request has ended.
func (l Load) Run(ctx context.Context, length time.Duration) Result {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	r := l.Start(ctx)
	<-r.done
	return r.Stop()
}

// Start begins to send, until Stop or the end of ctx.
func (l Load) Start(ctx context.Context) *Running {
	if l.Timeout == 0 {
		l.Timeout = 5 * time.Second
	}
	if l.Slow == 0 {
		l.Slow = time.Second
	}
	if l.Method == "" {
		l.Method = http.MethodGet
	}
	client := l.From.HTTPClient(l.Timeout, l.KeepAlive)
	transport := client.Transport.(*http.Transport)
	if l.TLS != nil {
		transport.TLSClientConfig, transport.ForceAttemptHTTP2 = l.TLS, l.KeepAlive
	}
	ctx, stop := context.WithCancel(ctx)
	r := &Running{load: l, client: client, stop: stop, done: make(chan struct{}),
		result: Result{Errors: make(map[string]int), Answers: make(map[string]int)}, lastGood: time.Now()}
	transport.DialContext = r.dial
	go r.send(ctx)
	return r
}

// dial connects from the load's host and counts the connection while it is open.
func (r *Running) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := r.load.From.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	r.count(1)
	return &counted{Conn: conn, closed: sync.OnceFunc(func() { r.count(-1) })}, nil
}

func (r *Running) count(change int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open += change
	r.result.Connections = max(r.result.Connections, r.open)
}

// counted is a connection that tells of its end.
type counted struct {
	net.Conn
	closed func()
}

func (c *counted) Close() error {
	c.closed()
	return c.Conn.Close()
}

// Stop ends the load, waits for the requests under way and returns what was seen.
func (r *Running) Stop() Result {
	r.stop()
	<-r.done
	r.client.CloseIdleConnections()
	r.mu.Lock()
	r.gap(r.ended)
	r.mu.Unlock()
	return r.Result()
}

// gap notes how long nobody has been answered at a moment. Who waits for the
// last answers, when there are no more requests, does not wait for the service
// to come back.
func (r *Running) gap(now time.Time) {
	if !r.ended.IsZero() && now.After(r.ended) {
		now = r.ended
	}
	r.result.LongestGap = max(r.result.LongestGap, now.Sub(r.lastGood))
}

// Result is what was seen so far.
func (r *Running) Result() Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.result
	seen.Errors, seen.Answers = maps.Clone(seen.Errors), maps.Clone(seen.Answers)
	seen.latencies = slices.Sorted(slices.Values(seen.latencies))
	seen.troubled = slices.SortedFunc(slices.Values(seen.troubled), time.Time.Compare)
	return seen
}

func (r *Running) send(ctx context.Context) {
	defer close(r.done)
	var requests sync.WaitGroup
	defer requests.Wait()
	slots := make(chan struct{}, maxInFlight)
	interval := time.Second / time.Duration(max(1, r.load.Rate))
	for due := time.Now(); ; due = due.Add(interval) {
		select {
		case <-ctx.Done():
			r.mu.Lock()
			r.ended = time.Now()
			r.mu.Unlock()
			return
		case <-time.After(time.Until(due)):
		}
		select {
		case slots <- struct{}{}:
		default:
			r.record(due, "", errors.New("overload"))
			continue
		}
		requests.Go(func() {
			answeredBy, err := r.request()
			r.record(due, answeredBy, err)
			<-slots
		})
	}
}

// request sends one request and reads its whole answer.
func (r *Running) request() (answeredBy string, err error) {
	var body io.Reader
	if r.load.Method != http.MethodGet {
		body = strings.NewReader("lab")
	}
	req, err := http.NewRequest(r.load.Method, r.load.URL, body)
	if err != nil {
		return "", err
	}
	req.Host = r.load.Name
	resp, err := r.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return "", err
	}
	if resp.StatusCode >= 300 {
		return "", fmt.Errorf("status %d", resp.StatusCode)
	}
	return resp.Header.Get("X-Container"), nil
}

func (r *Running) record(due time.Time, answeredBy string, err error) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.result
	if err != nil || now.Sub(due) > r.load.Slow {
		s.troubled = append(s.troubled, due)
	}
	if err != nil {
		s.Failed++
		s.Errors[kind(err)]++
		if s.FirstError == nil {
			s.FirstError = err
		}
		return
	}
	s.OK++
	s.Answers[answeredBy]++
	s.latencies = append(s.latencies, now.Sub(due))
	r.gap(now)
	r.lastGood = now
}

// kind names a failure as an operator would.
func kind(err error) string {
	var network net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "unreachable"
	case errors.As(err, &network) && network.Timeout():
		return "timeout"
	}
	return err.Error()
}

// Trouble is the time from the first to the last request, by when they were
// due, that failed or were slow: the outage as the public tells it.
func (r Result) Trouble() time.Duration {
	if len(r.troubled) == 0 {
		return 0
	}
	return r.troubled[len(r.troubled)-1].Sub(r.troubled[0])
}

// Outage is the longest time in which requests were in trouble one soon after
// the other, never quiet apart, whether all of them or only those that took
// one of several ways.
func (r Result) Outage(quiet time.Duration) time.Duration {
	var longest time.Duration
	for i, from := 0, 0; i < len(r.troubled); i++ {
		if i > 0 && r.troubled[i].Sub(r.troubled[i-1]) > quiet {
			from = i
		}
		longest = max(longest, r.troubled[i].Sub(r.troubled[from]))
	}
	return longest
}

// Merge is what two loads that ran side by side have seen together.
func (r Result) Merge(other Result) Result {
	sum := Result{OK: r.OK + other.OK, Failed: r.Failed + other.Failed, Errors: maps.Clone(r.Errors), Answers: maps.Clone(r.Answers),
		FirstError: cmp.Or(r.FirstError, other.FirstError), LongestGap: max(r.LongestGap, other.LongestGap), Connections: r.Connections + other.Connections}
	for kind, n := range other.Errors {
		sum.Errors[kind] += n
	}
	for name, n := range other.Answers {
		sum.Answers[name] += n
	}
	sum.latencies = slices.Sorted(slices.Values(slices.Concat(r.latencies, other.latencies)))
	sum.troubled = slices.SortedFunc(slices.Values(slices.Concat(r.troubled, other.troubled)), time.Time.Compare)
	return sum
}

// Percentile is the latency that p percent of the good answers did not exceed.
func (r Result) Percentile(p float64) time.Duration { return Percentile(r.latencies, p) }

// Percentile of sorted durations.
func Percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(p/100*float64(len(sorted))))]
}

func (r Result) String() string {
	text := fmt.Sprintf("%d ok, %d failed, p50 %.1f ms, p99 %.1f ms, longest gap %d ms, trouble %d ms, %d containers",
		r.OK, r.Failed, ms(r.Percentile(50)), ms(r.Percentile(99)), r.LongestGap.Milliseconds(), r.Trouble().Milliseconds(), len(r.Answers))
	if r.Failed > 0 {
		text += fmt.Sprintf(", %v (first: %v)", r.Errors, r.FirstError)
	}
	return text
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
