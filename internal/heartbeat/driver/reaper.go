package driver

import (
	"sync"
	"syscall"
	"time"
)

// killWait bounds the wait for processes that KILL was sent to; only one that
// sleeps uninterruptibly in the kernel lasts longer.
const killWait = 10 * time.Second

// pollPause is the pause between two looks at what is left of a run.
const pollPause = 20 * time.Millisecond

// reaper keeps account of the runs of this process, so that a process that
// turns up as its child can be told from a leader that os/exec waits for.
//
// Lock order: a start holds the read side from fork to entry, so that a scan,
// which holds the write side, never sees a leader that is not entered.
type reaper struct {
	mu   sync.RWMutex
	runs sync.Map // leader's pid -> run id
}

// entered is one run from its start until its leader was waited for.
type entered struct {
	reaper *reaper
	pid    int
	id     string
}

// start runs fork, which starts a process and returns its pid, and enters it.
func (r *reaper) start(id string, fork func() (int, error)) (entered, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	pid, err := fork()
	if err != nil {
		return entered{}, err
	}
	r.runs.Store(pid, id)
	return entered{reaper: r, pid: pid, id: id}, nil
}

// guest is the account's name for processes that are no runs.
const guest = "guest"

// GuestMark is the variable that marks a process as none of a run's; whoever starts
// one by [Exec.Host] gives it to the process.
const GuestMark = MarkVariable + "=" + guest

// Host runs fork, which starts a process that is no run and returns its id, and keeps
// account of it until leave, which is to be called after it was waited for. Without
// that, it would be taken for something that a run left behind, and ended.
func (e *Exec) Host(fork func() (pid int, err error)) (leave func(), err error) {
	entry, err := e.reaper.start(guest, fork)
	if err != nil {
		return nil, err
	}
	return entry.leave, nil
}

// leave takes the run out of the account, after all of it ended or was let go.
func (e entered) leave() { e.reaper.runs.CompareAndDelete(e.pid, e.id) }

// end ends everything of the run and waits until the leader was waited for and
// nothing is left.
func (e entered) end(grace time.Duration, leader <-chan struct{}) {
	e.reaper.endAll(grace, func() []int { return e.reaper.members(e.pid, e.id, true) }, leader)
}

// endAll sends TERM, then, after the grace, KILL until nothing is left.
func (r *reaper) endAll(grace time.Duration, left func() []int, leader <-chan struct{}) {
	if grace > 0 {
		signal(left(), syscall.SIGTERM)
		waitGone(time.Now().Add(grace), left, leader, 0)
	}
	waitGone(time.Now().Add(killWait), left, leader, syscall.SIGKILL)
}

// waitGone waits until nothing is left, sending sig on each look if it is not 0.
func waitGone(until time.Time, left func() []int, leader <-chan struct{}, sig syscall.Signal) {
	for time.Now().Before(until) {
		pids := left()
		if len(pids) == 0 {
			select {
			case <-leader:
				return
			case <-time.After(pollPause):
				continue
			}
		}
		if sig != 0 {
			signal(pids, sig)
		}
		<-time.After(pollPause)
	}
}

func signal(pids []int, sig syscall.Signal) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, sig)
	}
}
