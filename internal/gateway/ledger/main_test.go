package ledger

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// The test binary is also a process that can be killed, or denied space: these
// variables say what it does, and with which file.
const (
	childRole     = "LEDGER_TEST_ROLE"
	childPath     = "LEDGER_TEST_PATH"
	roleLoad      = "load"
	roleFull      = "full"
	roleRetention = "retention"
)

func TestMain(m *testing.M) {
	var err error
	switch path := os.Getenv(childPath); os.Getenv(childRole) {
	case roleLoad:
		err = playLoad(path, os.Stdout)
	case roleRetention:
		err = playRetention(path, os.Stdout)
	case roleFull:
		err = playFull(path, os.Stdout)
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// childProcess starts the test binary in a role. end waits for it.
func childProcess(t *testing.T, role, path string) (command *exec.Cmd, lines *bufio.Scanner, end func() error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command = exec.Command(self)
	command.Env = append(os.Environ(), childRole+"="+role, childPath+"="+path)
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if command.ProcessState == nil {
			_ = command.Process.Kill()
			_ = command.Wait()
		}
	})
	return command, bufio.NewScanner(out), command.Wait
}
