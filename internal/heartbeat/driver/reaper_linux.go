package driver

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// newReaper makes this process the one that adopts orphaned descendants
// (prctl(2), PR_SET_CHILD_SUBREAPER).
func newReaper() (*reaper, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("prctl: %w", err)
	}
	return &reaper{}, nil
}

// process is a line of /proc/PID/stat (proc_pid_stat(5)).
type process struct {
	pid, parent, group int
	zombie             bool
	born               int64 // clock ticks since boot
}

func readProcess(pid int) (process, bool) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, false
	}
	// The name, in parentheses, may hold anything.
	text := string(raw[bytes.LastIndexByte(raw, ')')+1:])
	fields := strings.Fields(text)
	const state, parent, group, startTime = 0, 1, 2, 19
	if len(fields) <= startTime {
		return process{}, false
	}
	p := process{pid: pid, zombie: fields[state] == "Z" || fields[state] == "X"}
	p.parent, _ = strconv.Atoi(fields[parent])
	p.group, _ = strconv.Atoi(fields[group])
	p.born, _ = strconv.ParseInt(fields[startTime], 10, 64)
	return p, true
}

// Born returns when a living process started, in a unit of the system's own; 0
// if there is none.
func Born(pid int) int64 {
	p, ok := readProcess(pid)
	if !ok || p.zombie {
		return 0
	}
	return p.born
}

func processes() []process {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer func() { _ = dir.Close() }()
	names, _ := dir.Readdirnames(-1)
	var out []process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, ok := readProcess(pid); ok {
			out = append(out, p)
		}
	}
	return out
}

// mark returns the run id that a process was started under, "" if none.
func mark(pid int) string {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return ""
	}
	for variable := range bytes.SplitSeq(raw, []byte{0}) {
		if id, ok := bytes.CutPrefix(variable, []byte(MarkVariable+"=")); ok {
			return string(id)
		}
	}
	return ""
}

// members returns the living processes of a run: its group, what carries its
// mark, and all descendants of those. An unmarked orphan that this process
// adopted belongs to the run if no other run is open. Zombies among the adopted
// are waited for in passing. Without group, the group's id proves nothing.
func (r *reaper) members(leader int, id string, group bool) []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	self, all := os.Getpid(), processes()
	others := 0
	leaders := map[int]bool{}
	r.runs.Range(func(pid, run any) bool {
		if n, ok := pid.(int); ok {
			leaders[n] = true
		}
		if run != id && run != guest {
			others++
		}
		return true
	})
	in := map[int]bool{}
	for _, p := range all {
		if p.pid == self || p.pid == 1 {
			continue
		}
		adopted := p.parent == self && !leaders[p.pid]
		if p.zombie {
			if adopted {
				_, _ = syscall.Wait4(p.pid, nil, syscall.WNOHANG, nil)
			}
			continue
		}
		switch marked := mark(p.pid); {
		case group && p.group == leader, marked == id:
			in[p.pid] = true
		case adopted && marked == "" && others == 0 && leaders[leader]:
			in[p.pid] = true
		}
	}
	return closure(all, in)
}

// closure adds all living descendants.
func closure(all []process, in map[int]bool) []int {
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if !in[p.pid] && !p.zombie && in[p.parent] {
				in[p.pid], grown = true, true
			}
		}
	}
	pids := make([]int, 0, len(in))
	for pid := range in {
		pids = append(pids, pid)
	}
	return pids
}

// Reap waits for adopted processes that ended. It is to be called now and then.
func (e *Exec) Reap() {
	e.reaper.mu.Lock()
	defer e.reaper.mu.Unlock()
	self := os.Getpid()
	for _, p := range processes() {
		if _, leader := e.reaper.runs.Load(p.pid); p.zombie && p.parent == self && !leader {
			_, _ = syscall.Wait4(p.pid, nil, syscall.WNOHANG, nil)
		}
	}
}

// EndSurvivors ends what is left of a run that a process before this one
// started, and returns how many processes that were. It never touches a process
// that it cannot tell to be of the run.
func (e *Exec) EndSurvivors(runID string, p Process) (int, error) {
	group := p.PID > 1 && p.Born != 0 && Born(p.PID) == p.Born
	left := func() []int { return e.reaper.members(p.PID, runID, group) }
	found := len(left())
	if found == 0 {
		return 0, nil
	}
	none := make(chan struct{})
	close(none)
	e.reaper.endAll(e.killGrace, left, none)
	if n := len(left()); n > 0 {
		return found, fmt.Errorf("ending what is left of run %s: %d processes outlived KILL", runID, n)
	}
	return found, nil
}

// Alive reports whether a process lives and is the one that was meant.
func Alive(p Process) bool { return p.Born != 0 && Born(p.PID) == p.Born }
