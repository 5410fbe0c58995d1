package acme

import "testing"

// FuzzKept reads any file of the directory that nodes share.
func FuzzKept(f *testing.F) {
	good, err := Temporary("todo.example.net")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(good.PEM))
	f.Add([]byte(good.PEM)[:200])
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := parse(data); err == nil && c.NotAfter.IsZero() {
			t.Error("a certificate that never ends")
		}
	})
}
