//go:build !linux

package driver

import "syscall"

// newReaper returns an account only: systems other than Linux have no way to
// adopt orphans, so a process that leaves the run's group is out of reach.
func newReaper() (*reaper, error) { return &reaper{}, nil }

// Born returns 0: the identity of a process cannot be told.
func Born(int) int64 { return 0 }

func (r *reaper) members(leader int, _ string, group bool) []int {
	if group && syscall.Kill(-leader, 0) == nil {
		return []int{-leader}
	}
	return nil
}

// Reap does nothing: nothing is adopted.
func (e *Exec) Reap() {}

// EndSurvivors does nothing: without the identity of a process, the group of a
// run of an earlier process cannot be told from a stranger's.
func (e *Exec) EndSurvivors(string, Process) (int, error) { return 0, nil }

// Alive reports whether a process with the id lives; whether it is the one that
// was meant cannot be told.
func Alive(p Process) bool { return p.PID > 0 && syscall.Kill(p.PID, 0) == nil }
