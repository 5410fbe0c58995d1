package status

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	cdpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/vipilot/vipilot/internal/ownnet"
)

// These tests look at the page through Debian's Chromium. With
// VIPILOT_SCREENSHOTS=1 they also write the pictures of docs/.

// TestMain runs them in a network of their own: Chromium gives up connections
// when an address of the machine comes or goes, as in other packages' tests.
func TestMain(m *testing.M) { os.Exit(ownnet.Run(m)) }

// browser is a Chromium with one tab on a server.
type browser struct {
	context.Context
	t    *testing.T
	url  string
	errs func() []string // of scripts, and what the security policy refused
}

func browse(t *testing.T, opts ServerOptions) *browser {
	t.Helper()
	if os.Getenv("VIPILOT_E2E") != "1" {
		t.Skip("set VIPILOT_E2E=1 to run against the real chromium")
	}
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- NewServer(opts).Serve(ctx, l, true) }()
	tab, stopTab := chromedp.NewContext(ctx, chromedp.WithAllocatorOptions(chromedp.ExecPath("/usr/bin/chromium"), chromedp.NoSandbox, chromedp.Headless,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WindowSize(1360, 1000), chromedp.WSURLReadTimeout(2*time.Minute))) // its first start may be from a cold disk
	if err := chromedp.Do(tab); err != nil { // starts it; a limit on this context would end it
		t.Fatal(err)
	}
	limited, stopLimit := context.WithTimeout(tab, 3*time.Minute)
	b := &browser{Context: limited, t: t, url: "http://" + l.Addr().String() + "/"}
	b.errs = collectErrors(t, limited)
	t.Cleanup(func() {
		for _, e := range b.errs() {
			t.Errorf("the browser complains: %s", e)
		}
		_ = chromedp.Cancel(tab) // waits for the browser's end
		stopLimit()
		stopTab()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	b.do(call(log.Enable, cdp.Empty{}), call(emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}))
	return b
}

// cutOff is what Chromium says of a connection that ends in the middle of an
// answer, before one, or before the question was sent.
var cutOff = regexp.MustCompile(`net::ERR_(INCOMPLETE_CHUNKED_ENCODING|EMPTY_RESPONSE|CONNECTION_(RESET|CLOSED))$`)

func collectErrors(t *testing.T, ctx context.Context) func() []string {
	var mu sync.Mutex
	var all []string
	err := chromedp.Listen(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			all = append(all, fmt.Sprintf("%+v", e.ExceptionDetails))
		case *log.EventEntryAdded:
			if e.Entry.Level == log.EntryLevelError && !strings.Contains(e.Entry.Text, "503 (") && !cutOff.MatchString(e.Entry.Text) { // a test cuts it off
				all = append(all, e.Entry.Text+" "+e.Entry.URL)
			}
		case *cdpage.EventJavascriptDialogOpening:
			all = append(all, "a dialog: "+e.Message)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() []string { mu.Lock(); defer mu.Unlock(); return all }
}

type action = chromedp.Action[chromedp.Void]

// call is a command of Chromium's own protocol.
func call[P, R any](command cdp.Command[P, R], params P) action {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, command, params)
		return err
	})
}

func (b *browser) do(actions ...action) {
	b.t.Helper()
	if err := chromedp.Do(b, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// js evaluates an expression.
func js[T any](b *browser, expression string) (value T) {
	b.t.Helper()
	value, err := chromedp.Run(b, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatal(err)
	}
	return value
}

// focus moves it to a box of the picture.
func (b *browser) focus(key string) {
	b.t.Helper()
	js[bool](b, fmt.Sprintf("(document.querySelector('[data-key=%q]').focus(), true)", key))
}

// until waits until an expression is true.
func (b *browser) until(what, expression string) {
	b.t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); ; {
		var is bool
		if is, err = chromedp.Run(b, chromedp.Evaluate[bool]("!!("+expression+")")); is {
			return
		}
		if time.Now().After(deadline) { // an error is a page that is just being left
			b.t.Fatalf("never: %s (%v); the browser complains: %v", what, err, b.errs())
		}
		<-time.After(20 * time.Millisecond)
	}
}

func (b *browser) text(selector string) string {
	b.t.Helper()
	text, err := chromedp.Run(b, chromedp.Text(chromedp.CSS(selector)))
	if err != nil {
		b.t.Fatal(err)
	}
	return text
}

// scheme is light or dark.
func scheme(name string) action {
	return call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
}

// shot writes a picture for docs/.
func (b *browser) shot(name string) {
	b.t.Helper()
	if os.Getenv("VIPILOT_SCREENSHOTS") != "1" {
		return
	}
	data, err := chromedp.Run(b, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("..", "docs", "images", name), data, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// hostile is a report whose every word tries to become more than a word.
func hostile() *Report {
	const word = `"><img src=x onerror=alert(1)><script>alert(2)</script>'` + "`" + `javascript:alert(3)//{{.}}</title></svg>`
	r := &Report{Node: word, Version: word, Config: Config{Revision: word, Error: ptr(word)}}
	r.Components.HAProxy = HAProxy{State: word, Error: ptr(word)}
	r.Components.Speaker.Peers = map[string]Peer{word: {State: word, Error: word}}
	r.Hosts = map[string]Host{word: {State: word, Error: ptr(word)}}
	r.Nodes = map[string]Node{word: {State: word, Address: word, VIPs: map[string]string{word: word}}}
	r.VIPs = map[string]VIP{word: {Addresses: []string{word}, Role: word, Announced: []string{word}, Reason: word}}
	r.Services = map[string]Service{word: {VIP: word, Endpoints: []Endpoint{{Name: word + "/x", Address: word, State: word, Reason: word}}, Rejected: []Rejection{{word, word, word}}}}
	return r
}

func TestE2EPageHostileWords(t *testing.T) {
	board := boardWith(hostile())
	b := browse(t, ServerOptions{Board: board})
	b.do(chromedp.Navigate(b.url))
	b.until("the picture", `document.querySelectorAll(".box").length >= 5`)
	board.Emit(Event{Kind: "endpoint", Subject: `<img src=x onerror=alert(4)>`, To: `<script>alert(5)</script>`, Cause: `"><b>`})
	b.until("the change is said", `document.getElementById("said").textContent.includes("<img src=x")`)
	if n := js[int](b, `document.querySelectorAll("img, body script, [onerror]").length`); n != 0 {
		t.Errorf("%d foreign elements", n)
	}
	js[bool](b, `(document.querySelector("#services tbody a").click(), true)`) // at once: the row may be drawn anew at any moment
	b.until("the service's page", `location.pathname.startsWith("/services/") && document.querySelector("#explain")`)
	if n := js[int](b, `document.querySelectorAll("img, body script, [onerror]").length`); n != 0 {
		t.Errorf("%d foreign elements on the service's page", n)
	}
}

// Events move the picture, focus stays where it was, the search narrows, and
// all of it works from the keyboard.
func TestE2EPageLives(t *testing.T) {
	report := fleet()
	board := boardWith(report)
	b := browse(t, ServerOptions{Board: board})
	b.do(chromedp.Navigate(b.url), scheme("light"))
	b.until("the picture", `document.querySelectorAll(".box").length > 8`)
	b.shot("page.png")

	b.focus("service todo")
	if n := js[int](b, `document.querySelectorAll("path.near").length`); n < 3 {
		t.Errorf("focus brings %d lines forward", n)
	}
	b.do(chromedp.KeyEvent(kb.ArrowRight))
	if key := js[string](b, `document.activeElement.dataset.key`); !strings.HasPrefix(key, "host ") {
		t.Errorf("arrow right goes to %q", key)
	}
	b.do(chromedp.KeyEvent(kb.ArrowLeft), chromedp.KeyEvent(kb.ArrowDown))
	held := js[string](b, `document.activeElement.dataset.key`)

	next := fleet()
	broken := next.Services["todo"]
	broken.Endpoints[0].State, broken.Endpoints[0].Reason = "down", "fails HAProxy's check"
	board.Publish(next)
	board.Emit(Diff(report, next, "haproxy reports")...)
	b.until("the picture shows it", `document.querySelector('[data-key="service todo"]').getAttribute("aria-label").includes("3 of 4 ready")`)
	b.until("it is said", `document.getElementById("said").textContent.includes("endpoint todo app1/todo-1: down")`)
	if key := js[string](b, `document.activeElement.dataset.key`); key != held || held == "" {
		t.Errorf("focus went from %q to %q", held, key)
	}
	b.until("the timeline begins with it", `document.querySelector("#timeline .cause").textContent.includes("haproxy reports")`)

	js[bool](b, `(document.activeElement.blur(), true)`)
	b.do(chromedp.KeyEvent("/"), chromedp.KeyEvent(kb.Escape), chromedp.KeyEvent("db"))
	b.until("the search", `location.search === "?q=db" && document.querySelectorAll("#services tbody tr").length === 1`)
	if js[string](b, `document.activeElement.id`) != "q" {
		t.Error("the search lost focus")
	}
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until("all again", `location.search === "" && document.querySelectorAll("#services tbody tr").length === 4`)
	b.focus("service todo")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until("the service's page", `location.pathname === "/services/todo"`)
}

// A controller that is replaced, while something else answers in its place, is
// found again: the page says that it is old, and then moves with the events of
// the next one.
func TestE2EPageOutlivesTheController(t *testing.T) {
	first, board := boardWith(fleet()), boardWith(fleet())
	var answers atomic.Value
	answers.Store(NewServer(ServerOptions{Board: first}).handler(true, nil))
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answers.Load().(http.Handler).ServeHTTP(w, r) }))
	t.Cleanup(front.Close) // once the browser has ended, which would complain
	b := browse(t, ServerOptions{Board: boardWith(fleet())})
	b.do(chromedp.Navigate(front.URL))
	b.until("the picture", `document.querySelector(".box") && !document.body.classList.contains("stale")`)
	answers.Store(http.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusServiceUnavailable, "nobody here") })))
	front.CloseClientConnections()
	b.until("the page says that it is old", `document.body.classList.contains("stale") && getComputedStyle(document.querySelector(".lost")).display !== "none"`)

	answers.Store(NewServer(ServerOptions{Board: board}).handler(true, nil))
	b.until("the page is fresh again", `!document.body.classList.contains("stale")`)
	next := fleet()
	next.Hosts["app2"] = Host{State: "unreachable", Containers: 7}
	board.Publish(next)
	board.Emit(Diff(fleet(), next, "app2: connection lost")...)
	b.until("its events are heard", `document.getElementById("said").textContent && document.querySelector('[data-key="host app2"]').getAttribute("aria-label").includes("unreachable")`)
}

// Every text has a contrast of at least 4.5 to 1 in both schemes (WCAG 2.2 AA),
// everything that can be used has a name, and headings and landmarks are there.
func TestE2EPageIsReadable(t *testing.T) {
	for _, name := range []string{"light", "dark"} {
		b := browse(t, ServerOptions{Board: boardWith(troubled()), Explain: explainedFor(t), Traffic: countedFor})
		for _, path := range []string{"", "services/todo"} {
			b.do(scheme(name), chromedp.Navigate(b.url+path))
			b.until("the page", `document.querySelector("#timeline li")`)
			for _, bad := range js[[]string](b, contrastScript) {
				t.Errorf("%s /%s: %s", name, path, bad)
			}
			for _, bad := range js[[]string](b, namesScript) {
				t.Errorf("/%s: %s", path, bad)
			}
			if path != "" && name == "light" {
				b.shot("page-service.png")
			}
		}
		if got := js[string](b, `getComputedStyle(document.body).backgroundColor`); (got == "rgb(16, 20, 26)") != (name == "dark") {
			t.Errorf("%s: the paper is %s", name, got)
		}
	}
	b := browse(t, ServerOptions{Board: boardWith(crowd())})
	b.do(scheme("dark"), chromedp.Navigate(b.url))
	b.until("the picture", `document.querySelectorAll(".box").length > 20`)
	b.shot("page-crowd-dark.png")
}

// Without scripts all is there as tables, and the search is a form.
func TestE2EPageWithoutScripts(t *testing.T) {
	b := browse(t, ServerOptions{Board: boardWith(fleet())})
	b.do(call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}), chromedp.Navigate(b.url))
	text := b.text("main")
	for name, s := range fleet().Services {
		for _, e := range s.Endpoints {
			if !strings.Contains(text, e.Name) || !strings.Contains(text, e.Address) || !strings.Contains(text, name) {
				t.Errorf("%s %s is not on the page", name, e.Name)
			}
		}
	}
	// The page reloads by itself every 15 seconds: on a fresh one there is time to type.
	b.do(chromedp.Navigate(b.url), chromedp.SendKeys(chromedp.CSS("#q"), "db\r"), chromedp.WaitVisible(chromedp.CSS(".found")))
	text = b.text("#services")
	if strings.Contains(text, "todo") || !strings.Contains(text, "db") {
		t.Errorf("the form found %q", text)
	}
}

func explainedFor(t *testing.T) func(context.Context, Question) (Answer, error) {
	return func(_ context.Context, q Question) (Answer, error) {
		return Answer{Explanation: Explanation{Kind: "service", Name: q.Subject, Verdict: NoTraffic, Reason: "the VIP is in fault", Next: "start HAProxy", Steps: []Step{
			{Step: "service", Verdict: OK, Text: "todo is on VIP public"}, {Step: "endpoints", Verdict: Warn, Text: "1 of 4 is ready", Detail: []Note{{Skip, "app2/web-3 drains"}}},
			{Step: "vip", Verdict: Fail, Text: "public: lb2 is fault", Next: "see haproxy.log"}}}}, nil
	}
}

func countedFor(_ context.Context, service string) (Traffic, error) {
	one := Counters{Sessions: 52310, Current: 41, Rate: 118, Milliseconds: 12, Responses: [5]uint64{0, 51234, 800, 231, 45}, ConnectionErrors: 2, BytesOut: 918273645, BytesIn: 8172635}
	return Traffic{Service: service, At: time.Now(), Total: one, Endpoints: map[EndpointID]Counters{IDOf("app1/web-1", "10.77.0.11:32768"): one, IDOf("app2/web-4", "10.77.0.12:32769"): one}}, nil
}

// fleet is a node of an ordinary day.
func fleet() *Report {
	applied := time.Now().Add(-42 * time.Minute)
	r := &Report{Node: "lb1", Version: "v1.0.0", Ready: true, Config: Config{Revision: "4f3a2b1c9d8e", AppliedAt: &applied}, Services: map[string]Service{}}
	r.Components.HAProxy = HAProxy{State: "running", PID: 811, Version: "2.6.12", Reloads: 2, RuntimeUpdates: 120}
	r.Components.Keepalived = Keepalived{State: "running", PID: 840}
	r.Components.Speaker = Speaker{State: "running", PID: 799, Peers: map[string]Peer{"edge1": {State: "established", PrefixesAnnounced: 2}, "edge2": {State: "active", Error: "connect: no route to host"}}}
	r.Nodes = map[string]Node{"lb1": {Address: "10.77.0.21", Here: true, State: "ready", VIPs: map[string]string{"public": "master", "intra": "backup"}},
		"lb2": {Address: "10.77.0.22", State: "ready", Revision: "4f3a2b1c9d8e", VIPs: map[string]string{"public": "backup", "intra": "master"}}}
	r.Hosts = map[string]Host{"app1": {State: "connected", Containers: 9}, "app2": {State: "connected", Containers: 7}, "app3": {State: "connected", Containers: 4}}
	r.VIPs = map[string]VIP{"public": {Addresses: []string{"203.0.113.10", "2001:db8::10"}, HA: "vrrp", Role: "master", Announced: []string{"203.0.113.10/32", "2001:db8::10/128"}},
		"intra": {Addresses: []string{"10.77.0.101"}, HA: "vrrp", Role: "backup"}}
	for i, name := range []string{"todo", "forge", "files"} {
		s := Service{VIP: "public"}
		for j := range 4 {
			s.Endpoints = append(s.Endpoints, Endpoint{Name: fmt.Sprintf("app%d/%s-%d", (i+j)%3+1, name, j+1), Address: fmt.Sprintf("10.77.0.%d:%d", 11+(i+j)%3, 32768+10*i+j), State: "ready"})
		}
		r.Services[name] = s
	}
	r.Services["files"].Endpoints[2].State, r.Services["files"].Endpoints[2].Reason = "drain", "stopping"
	r.Services["db"] = Service{VIP: "intra", Endpoints: []Endpoint{{Name: "10.77.0.40:5432", Address: "10.77.0.40:5432", State: "ready"}}}
	return r
}

// contrastScript lists texts whose contrast with what is behind them is too
// low. In the picture a box's own rectangle is behind its text.
const contrastScript = `(() => {
  const channels = (c) => c.match(/[\d.]+/g).map(Number);
  const lum = (c) => { const [r, g, b] = channels(c).slice(0, 3).map((v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; };
  const solid = (c) => { const p = channels(c); return p.length < 4 || p[3] > 0; };
  const behind = (e) => {
    const box = e.closest('.box');
    if (box) return getComputedStyle(box.querySelector('rect')).fill;
    for (let n = e; n; n = n.parentElement) { const c = getComputedStyle(n).backgroundColor; if (solid(c)) return c; }
    return 'rgb(255, 255, 255)';
  };
  const bad = new Set();
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || !e.getClientRects().length || e.tagName === 'TITLE') continue;
    const style = getComputedStyle(e), ink = e instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [lum(ink), lum(behind(e))].sort((x, y) => y - x), ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) bad.add(e.tagName + '.' + e.getAttribute('class') + ' ' + ink + ' on ' + behind(e) + ': ' + ratio.toFixed(2));
  }
  return [...bad];
})()`

// namesScript lists what a screen reader would stumble over.
const namesScript = `(() => {
  const bad = [];
  for (const e of document.querySelectorAll('a, button')) if (!(e.getAttribute('aria-label') || e.textContent).trim()) bad.push('no name: ' + e.outerHTML.slice(0, 120));
  for (const e of document.querySelectorAll('input')) if (!document.querySelector('label[for="' + e.id + '"]')) bad.push('no label: ' + e.id);
  for (const e of document.querySelectorAll('section')) if (!document.getElementById(e.getAttribute('aria-labelledby'))) bad.push('a section without a name');
  for (const e of document.querySelectorAll('thead th')) if (e.scope !== 'col') bad.push('a column without scope');
  for (const [what, n] of [['main', 1], ['header', 1], ['h1', 1], ['nav[aria-label]', 1], ['[aria-live=polite]', 1], ['html[lang]', 1]]) if (document.querySelectorAll(what).length !== n) bad.push('not one ' + what);
  const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
  if (new Set(ids).size !== ids.length) bad.push('an id twice');
  for (const e of document.querySelectorAll('a[href^="#"]')) if (e.getAttribute('href').length > 1 && !document.getElementById(e.getAttribute('href').slice(1))) bad.push('leads nowhere: ' + e.getAttribute('href'));
  for (const e of document.querySelectorAll('.state, .box')) if (!(e.getAttribute('aria-label') || e.textContent).replace(/[●◐✕○ ]/g, '')) bad.push('a state without a word: ' + e.outerHTML.slice(0, 120));
  return bad;
})()`
