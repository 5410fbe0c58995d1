package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
)

// scrape reads a node's metrics: value by name with labels.
func scrape(ctx context.Context, n *lab.Node) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+lab.StatusAddress+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := n.HTTPClient(10*time.Second, false).Do(req)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer resp.Body.Close()
	values := make(map[string]float64)
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, text, ok := strings.Cut(lines.Text(), " ")
		if !ok || name == "#" {
			continue
		}
		if values[name], err = strconv.ParseFloat(text, 64); err != nil {
			return nil, fmt.Errorf("read metrics: %s is %q", name, text)
		}
	}
	return values, lines.Err()
}

var bucketForm = regexp.MustCompile(`^vipilot_step_seconds_bucket\{step="([a-z]+)",le="([0-9.e+-]+)"\}$`)

// step describes how long one of vipilot's steps took between two scrapes.
func step(name string, before, after map[string]float64) string {
	label := `{step="` + name + `"}`
	n := after["vipilot_step_seconds_count"+label] - before["vipilot_step_seconds_count"+label]
	if n == 0 {
		return "none"
	}
	sum := after["vipilot_step_seconds_sum"+label] - before["vipilot_step_seconds_sum"+label]
	within := func(p float64) float64 { // the smallest bound that so many kept
		best := -1.0
		for metric, count := range after {
			m := bucketForm.FindStringSubmatch(metric)
			if m == nil || m[1] != name || count-before[metric] < p*n {
				continue
			}
			if bound, err := strconv.ParseFloat(m[2], 64); err == nil && (best < 0 || bound < best) {
				best = bound
			}
		}
		return 1000 * best
	}
	return fmt.Sprintf("mean %5.2f ms   p50 ≤ %.3g, p99 ≤ %.3g ms   n=%.0f", 1000*sum/n, within(0.5), within(0.99), n)
}

// firstCheck waits until HAProxy's own check of a container's server has a
// result, and returns when that was seen. vipilot does not wait for it.
func firstCheck(ctx context.Context, n *lab.Node, container string) (time.Time, error) {
	err := lab.Poll(ctx, 5*time.Second, func(ctx context.Context) error {
		state, err := askHAProxy(ctx, n, "show servers state todo")
		if err != nil {
			return err
		}
		const name, result = 3, 13 // columns srv_name and srv_check_result of format 1
		for line := range strings.Lines(state) {
			if f := strings.Fields(line); len(f) > result && strings.Contains(f[name], "."+container+".") && f[result] != "0" && f[result] != "1" {
				return nil
			}
		}
		return fmt.Errorf("HAProxy has not checked %s yet", container)
	})
	return time.Now(), err
}

// askHAProxy sends one command to a node's runtime socket.
func askHAProxy(ctx context.Context, n *lab.Node, command string) (string, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", filepath.Join(n.RunDir, "haproxy", "stats.sock"))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := fmt.Fprintln(conn, command); err != nil {
		return "", err
	}
	reply, err := io.ReadAll(conn)
	return string(reply), err
}
