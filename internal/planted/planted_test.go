package planted

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
)

func TestFound(t *testing.T) {
	var s Secrets
	s.Plant("password", `hun<ter"2&`)
	_, key, err := s.Pair("key", "a.example.net")
	if err != nil {
		t.Fatal(err)
	}
	asJSON, _ := json.Marshal(map[string]any{"a": `x hun<ter"2&`, "b": []byte("…hun<ter\"2&…")})
	line := strings.Split(string(key), "\n")[1]
	for name, text := range map[string]string{
		"plain": `auth_pass hun<ter"2&`, "hex": hex.EncodeToString([]byte(`a hun<ter"2&`)), "JSON": string(asJSON), "HTML": "<p>hun&lt;ter&#34;2&amp;</p>",
		"base64": base64.StdEncoding.EncodeToString([]byte(`ab hun<ter"2& cd`)), "one byte on": base64.StdEncoding.EncodeToString([]byte(`abc hun<ter"2& cd`)),
		"two bytes on": base64.StdEncoding.EncodeToString([]byte(`abcd hun<ter"2& cd`)), "URL": "?t=hun%3Cter%222%26",
	} {
		if got := s.In(text); len(got) != 1 || !strings.HasPrefix(got[0], "password") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := s.In("key: " + line); len(got) != 1 || got[0] != `key after "key: "` {
		t.Errorf("%q", got)
	}
	if got := s.In("auth_pass ***, hunter2"); got != nil {
		t.Errorf("%q", got)
	}
}
