package status

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits of webhooks. What a hook says is not read, only whether it is genuine:
// it means "look again", and the repository itself says what is new.
const (
	maxHook    = 25 << 20 // GitHub sends no more
	hookBurst  = 10       // at once, and
	hookEvery  = time.Second
	hookWindow = 5 * time.Minute // how old a signed time may be
)

// isHook reports whether a request is signed as a forge does it. Such a request
// needs no token; a signature that is wrong is refused, never passed on.
func isHook(r *http.Request) bool {
	for _, name := range []string{"X-Hub-Signature-256", "X-Gitlab-Token", "Webhook-Signature"} {
		if r.Header.Get(name) != "" {
			return true
		}
	}
	return false
}

// hooks answers POST /v1/sync of forges: at once, before anything is fetched.
type hooks struct {
	secret string
	poke   func()
	now    func() time.Time

	mu   sync.Mutex
	left float64 // of hookBurst
	at   time.Time
}

// allow is a bucket that fills by one every hookEvery.
func (h *hooks) allow() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	h.left = min(hookBurst, h.left+float64(now.Sub(h.at))/float64(hookEvery))
	h.at = now
	if h.left < 1 {
		return false
	}
	h.left--
	return true
}

func (h *hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case h.poke == nil:
		plain(w, http.StatusNotImplemented, "this controller does not follow a source")
		return
	case h.secret == "":
		plain(w, http.StatusForbidden, "this controller knows no webhook secret (--webhook-secret-file)")
		return
	case !h.allow():
		w.Header().Set("Retry-After", "10")
		plain(w, http.StatusTooManyRequests, "too many webhooks; the source is polled as well")
		return
	}
	extend(w, 30*time.Second)
	err := h.check(r, http.MaxBytesReader(w, r.Body, maxHook))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		plain(w, http.StatusRequestEntityTooLarge, "the webhook is too large")
		return
	}
	if err != nil {
		plain(w, http.StatusUnauthorized, err.Error())
		return
	}
	h.poke()
	plain(w, http.StatusAccepted, "ok")
}

var errForged = errors.New("the webhook is not signed with the secret of this controller (--webhook-secret-file)")

// check reads the whole body and compares every signature the request has.
func (h *hooks) check(r *http.Request, body io.Reader) error {
	key, prefix, signatures := h.signing(r)
	sum := hmac.New(sha256.New, key)
	io.WriteString(sum, prefix)
	if _, err := io.Copy(sum, body); err != nil {
		return err
	}
	if token := r.Header.Get("X-Gitlab-Token"); token != "" && len(signatures) == 0 {
		if !sameSecret(token, h.secret) {
			return errForged
		}
		return nil
	}
	if stamp := r.Header.Get("Webhook-Timestamp"); prefix != "" {
		seconds, err := strconv.ParseInt(stamp, 10, 64)
		if age := h.now().Sub(time.Unix(seconds, 0)); err != nil || age > hookWindow || age < -hookWindow {
			return errors.New("the webhook's time is not now: is one of the clocks wrong?")
		}
	}
	if !anyEqual(sum, signatures) {
		return errForged
	}
	return nil
}

// signing says how a request is signed: by GitHub over the body, or after
// Standard Webhooks, as GitLab does with a signing token, over ID, time and body.
func (h *hooks) signing(r *http.Request) (key []byte, prefix string, signatures [][]byte) {
	if list := r.Header.Get("Webhook-Signature"); list != "" {
		key = []byte(h.secret)
		if encoded, ok := strings.CutPrefix(h.secret, "whsec_"); ok {
			if decoded, err := base64.StdEncoding.DecodeString(encoded); err == nil {
				key = decoded
			}
		}
		for entry := range strings.FieldsSeq(list) {
			encoded, ok := strings.CutPrefix(entry, "v1,")
			if signature, err := base64.StdEncoding.DecodeString(encoded); ok && err == nil {
				signatures = append(signatures, signature)
			}
		}
		if len(signatures) == 0 {
			signatures = [][]byte{nil} // one that nothing equals
		}
		return key, r.Header.Get("Webhook-Id") + "." + r.Header.Get("Webhook-Timestamp") + ".", signatures
	}
	if text := r.Header.Get("X-Hub-Signature-256"); text != "" {
		signature, _ := hex.DecodeString(strings.TrimPrefix(text, "sha256="))
		signatures = [][]byte{signature}
	}
	return []byte(h.secret), "", signatures
}

func anyEqual(sum hash.Hash, signatures [][]byte) bool {
	want, found := sum.Sum(nil), false
	for _, got := range signatures {
		found = hmac.Equal(got, want) || found
	}
	return found
}

// orHook sends requests of forges to the hooks and all others on.
func (h *hooks) orHook(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isHook(r) {
			h.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
