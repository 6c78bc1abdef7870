package agents

import (
	"os/exec"
	"syscall"
)

// attach makes the kernel kill the process when the supervisor dies, however it
// dies. It holds for the thread that starts the process: see spawner.
func attach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
