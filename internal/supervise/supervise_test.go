package supervise

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestStartAdoptStop(t *testing.T) {
	record := filepath.Join(t.TempDir(), "sleep.json")
	p, err := Start(Spec{Path: "sleep", Args: []string{"600"}, Record: record})
	if err != nil {
		t.Fatal(err)
	}
	adopted, err := Adopt(record)
	if err != nil {
		t.Fatal(err)
	}
	if adopted.PID != p.PID || adopted.StartTime != p.StartTime {
		t.Fatalf("adopted %+v, started %+v", adopted, p)
	}
	if err := adopted.Stop(syscall.SIGTERM, 30*time.Second); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("the starter was not told of the end")
	}
	if _, err := Adopt(record); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("Adopt of a dead process = %v", err)
	}
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("Signal to a dead process = %v", err)
	}
}

func TestAdoptRefuses(t *testing.T) {
	for name, content := range map[string]string{
		"reused pid": `{"pid":` + "2" + `,"start_time":18446744073709551615}`,
		"not JSON":   "12345",
		"init":       `{"pid":1,"start_time":1}`,
	} {
		record := filepath.Join(t.TempDir(), "r.json")
		if err := os.WriteFile(record, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Adopt(record); !errors.Is(err, ErrNotRunning) {
			t.Errorf("%s: Adopt = %v, want ErrNotRunning", name, err)
		}
	}
}

func TestStartMissingProgram(t *testing.T) {
	if _, err := Start(Spec{Path: "vipilot-no-such-program", Record: filepath.Join(t.TempDir(), "r")}); err == nil {
		t.Fatal("started a program that does not exist")
	}
}
