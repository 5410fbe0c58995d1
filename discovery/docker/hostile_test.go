package docker

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/discovery"
)

// endless says begin once, and then again and again what follows.
func endless(begin, again string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, begin)
		block := strings.Repeat(again, 64<<10/len(again)+1)
		for {
			if _, err := io.WriteString(w, block); err != nil {
				return
			}
		}
	}
}

func answers(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

// TestHostileEngine is about what answers in place of an engine, or an engine
// that somebody else rules. Its snapshot says why it cannot be read, in one
// line, the memory does not fill, and nothing it says becomes a container.
func TestHostileEngine(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("sent elsewhere: %s", r.URL) }))
	t.Cleanup(elsewhere.Close)
	list, inspect := "/containers/json", "/containers/"+strings.Repeat("ab", 32)+"/json"
	one := `[{"Id":"` + strings.Repeat("ab", 32) + `","Names":["/web"],"State":"running"}]`
	for name, tc := range map[string]struct {
		path string
		say  http.HandlerFunc
		want string // in the snapshot's error; "" = the engine can be read
	}{
		"a list without end":          {list, endless("[{}", ",{}"), errTooMuch.Error()},
		"a list of many containers":   {list, answers("[{}" + strings.Repeat(",{}", maxListed) + "]"), errTooMuch.Error()},
		"a string without end":        {list, endless(`[{"Id":"`, "aaaaaaaaaaaaaaaa"), errTooMuch.Error()},
		"an inspection without end":   {inspect, endless(`{"Config":{"Labels":{"a":"b"`, `,"a":"b"`), errTooMuch.Error()},
		"networks without end":        {"/networks", endless("[{}", ",{}"), errTooMuch.Error()},
		"an event without end":        {"/events", endless(`{"Type":"`, "container"), errTooMuch.Error()},
		"an event of many values":     {"/events", endless(`{"Actor":{"Attributes":{"a":"b"`, `,"a":"b"`), errTooMuch.Error()},
		"a deep list":                 {list, answers(strings.Repeat("[", 1<<20)), "exceeded max depth"},
		"a deep event":                {"/events", answers(strings.Repeat(`{"a":`, 1<<16)), "exceeded max depth"},
		"a list of something else":    {list, answers(`{"message":"no"}`), "cannot unmarshal"},
		"a list that is a page":       {list, answers("<html>\x1b[31m" + strings.Repeat("x", 4096)), "invalid character"},
		"a list of strange ids":       {list, answers(`[{"Id":"../../x","Names":["/web"],"State":"running"},{"Id":"","Names":[""]},{"Id":"\u0000"}]`), ""},
		"sent elsewhere":              {list, http.RedirectHandler(elsewhere.URL+"/containers/json", http.StatusTemporaryRedirect).ServeHTTP, "reach docker engine"},
		"an inspection of another id": {inspect, answers(strings.Replace(`{"Id":"ID","Name":"/other","State":{"Status":"running"},"Config":{"Image":"x"},"HostConfig":{}}`, "ID", strings.Repeat("cd", 32), 1)), "another container"},
		"an inspection of nothing":    {inspect, answers("null"), "no state or no configuration"},
	} {
		t.Run(name, func(t *testing.T) {
			engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Api-Version", "1.41")
				w.Header().Set("Content-Type", "application/json")
				switch path := versionPrefix.ReplaceAllString(r.URL.Path, ""); {
				case path == tc.path:
					tc.say(w, r)
				case path == "/_ping":
				case path == list:
					answers(one)(w, r)
				case path == "/networks":
					answers("[]")(w, r)
				case path == "/events":
					w.WriteHeader(http.StatusOK)
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
				default:
					http.NotFound(w, r)
				}
			}))
			t.Cleanup(engine.Close)
			t.Cleanup(engine.CloseClientConnections)
			w := watch(t, Options{URL: "tcp://" + engine.Listener.Addr().String(), Relist: time.Hour, Ping: time.Hour, Timeout: longest, most: allowance{bytes: 4 << 20, cost: maxCost}})
			s := w.untilIs(tc.want, func(s discovery.Snapshot) bool {
				return !errors.Is(s.Err, errNoAnswer) && (s.Err != nil) == (tc.want != "")
			})
			if tc.want != "" && (!strings.Contains(s.Err.Error(), tc.want) || strings.ContainsAny(s.Err.Error(), "\n\x1b") || len(s.Err.Error()) > 1000) {
				t.Errorf("says %.1000q, want %q in one line", s.Err, tc.want)
			}
			for _, c := range s.Containers {
				t.Errorf("it became a container: %+v", c)
			}
			var memory runtime.MemStats
			runtime.ReadMemStats(&memory)
			if memory.HeapAlloc > 1<<30 {
				t.Errorf("%d MiB in use", memory.HeapAlloc>>20)
			}
		})
	}
}

// TestBounded has what an engine may say: as many events as it likes, and braces in strings.
func TestBounded(t *testing.T) {
	event := `{"Type":"container","Actor":{"Attributes":{"name":"a{[,\"\\"}}}` + "\n"
	full := allowance{bytes: 2 * len(event), cost: 4 * objectFee}
	for name, tc := range map[string]struct {
		text   string
		stream bool
		want   error
	}{
		"many events":         {strings.Repeat(event, 100), true, nil},
		"one large event":     {`{"a":"` + strings.Repeat("x", 2*len(event)), true, errTooMuch},
		"an event of objects": {`{"a":[{},{},{}]}`, true, errTooMuch},
		"an answer":           {event, false, nil},
		"answers in a row":    {strings.Repeat(event, 3), false, errTooMuch},
	} {
		_, err := io.ReadAll(&reading{ReadCloser: io.NopCloser(strings.NewReader(tc.text)), full: full, left: full, stream: tc.stream})
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	for text, want := range map[string]error{
		"[" + strings.Repeat("{},", 4) + "{}]": errTooMuch, "[{},{}]": nil,
		`["` + strings.Repeat(`{\\\"`, 40) + `"]`: nil, "[" + strings.Repeat(" ", 200) + strings.Repeat("0,", 4*objectFee): errTooMuch,
	} {
		if err := full.covers([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%.40s: %v, want %v", text, err, want)
		}
	}
}
