package vrrp

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseNotice(t *testing.T) {
	for line, want := range map[string]notice{
		`INSTANCE "public" MASTER 150`:              {"public", Master},
		`INSTANCE "public" BACKUP 100`:              {"public", Backup},
		`INSTANCE "public" FAULT 100`:               {"public", Fault},
		`INSTANCE "public" STOP 100`:                {"public", Fault},
		`INSTANCE "public" DELETED 100`:             {"public", Fault},
		`INSTANCE "public" MASTER_RX_LOWER_PRI 100`: {},
		`GROUP "G1" MASTER 0`:                       {},
	} {
		if got, err := parseNotice(line); err != nil || got != want {
			t.Errorf("%s: %+v, %v", line, got, err)
		}
	}
	for _, line := range []string{
		``, `INSTANCE`, `INSTANCE "public"`, `INSTANCE "public" LORD 1`, `INSTANCE "a b" MASTER 1`,
		`INSTANCE "public" MASTER 1 2`, `instance "public" MASTER 1`, `INSTANCE "" MASTER 1`,
	} {
		if got, err := parseNotice(line); err == nil {
			t.Errorf("%q: taken as %+v", line, got)
		}
	}
}

func TestParseNotices(t *testing.T) {
	latest, rest, err := parseNotices("INSTANCE \"a\" BACKUP 1\nINSTANCE \"b\" FAULT 1\nnonsense\nINSTANCE \"a\" MASTER 1\nINSTANCE \"b\"")
	if want := []notice{{"a", Master}, {"b", Fault}}; !slices.Equal(latest, want) {
		t.Errorf("latest %+v, want %+v", latest, want)
	}
	if rest != `INSTANCE "b"` {
		t.Errorf("rest %q", rest)
	}
	if err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("error %v", err)
	}
}

func FuzzParseNotices(f *testing.F) {
	f.Add("INSTANCE \"public\" MASTER 150\n")
	f.Add("GROUP \"g\" FAULT 0\nINSTANCE \"x\" STOP")
	f.Fuzz(func(t *testing.T, text string) {
		latest, rest, _ := parseNotices(text)
		if strings.Contains(rest, "\n") {
			t.Fatalf("a whole line is left: %q", rest)
		}
		seen := map[string]bool{}
		for _, n := range latest {
			if seen[n.Instance] || !namePattern.MatchString(n.Instance) {
				t.Fatalf("instance %q", n.Instance)
			}
			seen[n.Instance] = true
			if n.Role != Master && n.Role != Backup && n.Role != Fault {
				t.Fatalf("role %q", n.Role)
			}
		}
	})
}

func TestEnsureFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "roles.fifo")
	first, err := openFIFO(path)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := first.WriteString("INSTANCE \"a\" MASTER 1\n"); err != nil {
		t.Fatal(err)
	}
	second, err := openFIFO(path) // what a new controller does
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	line := make([]byte, 100)
	if n, err := second.Read(line); err != nil || string(line[:n]) != "INSTANCE \"a\" MASTER 1\n" {
		t.Errorf("the line that waited is %q, %v", line[:n], err)
	}
	if info, _ := os.Stat(path); info.Mode() != os.ModeNamedPipe|0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	plain := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := ensureFIFO(plain); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(plain); info.Mode() != os.ModeNamedPipe|0o600 {
		t.Errorf("a plain file stays in the way: %v", info.Mode())
	}
}
