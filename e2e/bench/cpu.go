package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// workers are the processes that serve each port.
func (p proxies) workers(ctx context.Context) (map[string]int, error) {
	report, err := p.node.Status(ctx)
	if err != nil {
		return nil, err
	}
	pids := make(map[string]int)
	for port, command := range map[string]string{
		"80":   fmt.Sprintf("pgrep -n -P %d", report.Components.HAProxy.PID),
		byHand: "cat " + pidFile(filepath.Join(p.node.BinDir(), "by-hand.cfg")),
	} {
		out, err := p.node.Run(ctx, "sh", "-c", command)
		if err != nil {
			return nil, err
		}
		if pids[port], err = strconv.Atoi(strings.TrimSpace(out)); err != nil {
			return nil, fmt.Errorf("who serves port %s: %w", port, err)
		}
	}
	return pids, nil
}

func pidFile(config string) string { return strings.TrimSuffix(config, ".cfg") + ".pid" }

// cpuTime is what a process has used of the CPU, all threads together.
func cpuTime(pid int) (time.Duration, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(tasks) == 0 {
		return 0, fmt.Errorf("process %d is gone: %w", pid, err)
	}
	var sum time.Duration
	for _, task := range tasks {
		data, err := os.ReadFile(task)
		if err != nil {
			return 0, err
		}
		var used int64
		if _, err := fmt.Sscan(string(data), &used); err != nil {
			return 0, fmt.Errorf("read %s: %w", task, err)
		}
		sum += time.Duration(used)
	}
	return sum, nil
}
