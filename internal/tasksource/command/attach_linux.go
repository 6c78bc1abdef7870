package command

import "syscall"

// attach makes the kernel end the program when this process dies, however it dies.
// It holds for the thread that starts the program.
func attach(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
