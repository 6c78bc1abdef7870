// Package livesign looks at this machine for free signs that an agent lives: a
// process, a TCP port. Heartbeat asks them for its liveness rule, the exporter
// for its watches.
//
// It promises: gone is said only with certainty; what could not be told is
// neither alive nor gone.
package livesign

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/fleet"
)

// portTimeout bounds the look at a port.
const portTimeout = 2 * time.Second

// startSlack is how much later than its pid file a process may have begun: clocks
// are adjusted, and some write the file before they begin.
const startSlack = 10 * time.Second

// Sign is what was seen. Neither Alive nor Gone means that it could not be told.
type Sign struct {
	Alive  bool
	Gone   bool
	Detail string // for a person
}

// Port tells whether something accepts connections there: a port of this
// machine, or host:port.
func Port(ctx context.Context, port string) Sign {
	address := port
	if _, err := strconv.Atoi(port); err == nil {
		address = net.JoinHostPort("127.0.0.1", port)
	}
	ctx, cancel := context.WithTimeout(ctx, portTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	switch {
	case err == nil:
		_ = conn.Close()
		return Sign{Alive: true, Detail: "port " + port + " answers"}
	case errors.Is(err, syscall.ECONNREFUSED):
		return Sign{Gone: true, Detail: "port " + port + " refuses"}
	default:
		return Sign{Detail: fmt.Sprintf("port %s: %v", port, err)}
	}
}

// Process tells whether the process that p names runs. Processes for which
// skip, where given, says true do not count.
func Process(p fleet.Process, skip func(pid int) bool) Sign {
	if p.Match != "" {
		return matchSign(p.Match, skip)
	}
	raw, err := os.ReadFile(string(p.PIDFile))
	if errors.Is(err, os.ErrNotExist) {
		return Sign{Gone: true, Detail: "no pid file"}
	}
	if err != nil {
		return Sign{Detail: fmt.Sprintf("reading the pid file: %v", err)}
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || pid <= 0 {
		return Sign{Detail: "the pid file holds no process id"}
	}
	sign := pidSign(pid)
	if sign.Alive && startedAfter(pid, string(p.PIDFile)) {
		// Not gone for certain either: the clock may have been set.
		return Sign{Detail: fmt.Sprintf("process %d began after the pid file was written: it may be another one", pid)}
	}
	return sign
}

// startedAfter reports whether the process began after the file was written, as
// one does that got the number of a process long gone (a pid file that outlived a
// restart of the machine). What cannot be read is no reason for doubt.
func startedAfter(pid int, file string) bool {
	info, err := os.Stat(file)
	if err != nil {
		return false
	}
	age, ok := processAge(pid)
	return ok && time.Now().Add(-age).After(info.ModTime().Add(startSlack))
}

// processAge is how long the process has run (proc_pid_stat(5), starttime, in
// hundredths of a second since the machine started).
func processAge(pid int) (age time.Duration, ok bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return 0, false
	}
	began, err := strconv.ParseInt(fields[19], 10, 64)
	if err != nil {
		return 0, false
	}
	seconds, _, _ := strings.Cut(string(uptime), " ")
	up, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		return 0, false
	}
	return time.Duration(up*float64(time.Second)) - time.Duration(began)*10*time.Millisecond, true
}

// pidSign tells a process that lives from one that ended or is stopped. A
// stopped one (SIGSTOP) is not gone, and not alive either.
func pidSign(pid int) Sign {
	if err := syscall.Kill(pid, 0); err != nil && !errors.Is(err, syscall.EPERM) {
		return Sign{Gone: true, Detail: fmt.Sprintf("process %d is gone", pid)}
	}
	switch state(pid) {
	case 'Z', 'X':
		return Sign{Gone: true, Detail: fmt.Sprintf("process %d has ended", pid)}
	case 'T', 't':
		return Sign{Detail: fmt.Sprintf("process %d is stopped", pid)}
	}
	return Sign{Alive: true, Detail: fmt.Sprintf("process %d runs", pid)}
}

// state returns the state letter of a process (proc_pid_stat(5)), 0 where the
// system has no /proc.
func state(pid int) byte {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	if i := strings.LastIndexByte(string(raw), ')'); i >= 0 && i+2 < len(raw) {
		return raw[i+2]
	}
	return 0
}

// matchSign looks for a process by its command line.
func matchSign(pattern string, skip func(pid int) bool) Sign {
	match, err := regexp.Compile(pattern)
	if err != nil {
		return Sign{Detail: fmt.Sprintf("pattern: %v", err)}
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return Sign{Detail: "processes cannot be listed on this system"}
	}
	stopped := Sign{Gone: true, Detail: "no process matches"}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() || !match.MatchString(commandLine(pid)) || (skip != nil && skip(pid)) {
			continue
		}
		sign := pidSign(pid)
		if sign.Alive {
			return sign
		}
		if !sign.Gone {
			stopped = sign
		}
	}
	return stopped
}

func commandLine(pid int) string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(raw) == 0 {
		return "\x00" // no command line matches as little as a kernel thread
	}
	return strings.TrimSuffix(strings.ReplaceAll(string(raw), "\x00", " "), " ")
}
