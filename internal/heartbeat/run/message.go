package run

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/job"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/worklist"
	"github.com/fleetwatch/fleetwatch/internal/tasksource"
)

// The first words of what a driver tells its agent, where the configuration has
// no others.
const (
	DefaultMessage  = "运行心跳检查。执行你的 HEARTBEAT.md 中的三源任务检查。"
	DefaultRecovery = "任务停滞恢复。下列任务已确认没有进展：先查明原因，再继续、拆分或标记为阻塞，并更新任务的状态。"
)

const (
	// maxNext is how many of the tasks that could come next, and of those that wait,
	// are listed.
	maxNext = 10
	// maxFor is how many of what one task waits for are listed.
	maxFor = 5
	// maxInstructions bounds what is taken of HEARTBEAT.md; more is an error.
	maxInstructions = 32 << 10
	// instructionsName is the file of the workspace that tells the agent what a
	// heartbeat is about.
	instructionsName = "HEARTBEAT.md"
)

// message is what the driver tells the agent: the first words, what is to be done
// now, what comes next, what has to wait, what could not be read, and the workspace's
// HEARTBEAT.md.
// The workspace is the folder in which the driver runs.
func (e *Executor) message(j job.Job, a worklist.Agenda) string {
	instructions, err := readInstructions(j.Agent.Driver.Dir)
	if err != nil {
		e.o.Log.Warn("HEARTBEAT.md left out of a message", "job", j.ID, "error", err)
	}
	var b strings.Builder
	b.WriteString(firstWords(j, a))
	if len(a.Now) > 0 {
		b.WriteString("\n\n现在处理：")
		for _, task := range a.Now {
			b.WriteString("\n- " + nowLine(task, j.Agent.MaxRounds))
		}
	}
	if len(a.Next) > 0 {
		fmt.Fprintf(&b, "\n\n之后（%d 项）：", len(a.Next))
		for _, task := range a.Next[:min(len(a.Next), maxNext)] {
			fmt.Fprintf(&b, "\n- %s（%s：%s）", task.Title, task.Source, task.ID)
		}
	}
	if len(a.Waiting) > 0 {
		fmt.Fprintf(&b, "\n\n暂不能处理（%d 项）：", len(a.Waiting))
		for _, task := range a.Waiting[:min(len(a.Waiting), maxNext)] {
			b.WriteString("\n- " + waitingLine(task))
		}
	}
	for _, source := range a.Sources {
		if source.State != beat.SourceOK {
			fmt.Fprintf(&b, "\n\n来源 %s 读不到，其中有没有任务未知：%s", source.Name, source.Detail)
		}
	}
	if instructions != "" {
		b.WriteString("\n\n" + instructionsName + "：\n" + instructions)
	}
	return b.String()
}

func firstWords(j job.Job, a worklist.Agenda) string {
	switch {
	case a.Recovery && j.Recovery != "":
		return j.Recovery
	case a.Recovery:
		return DefaultRecovery
	case j.Message != "":
		return j.Message
	}
	return DefaultMessage
}

func nowLine(task worklist.Task, limit int) string {
	r := task.Record
	state := "待办"
	switch {
	case r.Stalled():
		state = "已停滞"
	case r.Stall == worklist.Suspected:
		state = "疑似停滞"
	case task.State == tasksource.InProgress:
		state = "进行中"
	}
	rounds := fmt.Sprintf("第 %d 轮", r.Rounds)
	if limit > 0 {
		rounds = fmt.Sprintf("第 %d/%d 轮", r.Rounds, limit)
	}
	line := fmt.Sprintf("[%s] %s（%s：%s，%s", state, task.Title, task.Source, task.ID, rounds)
	if task.State == tasksource.InProgress {
		line += "，上次进展 " + r.ProgressAt.UTC().Format(time.RFC3339)
	}
	return line + "）"
}

// waitingLine says what a task waits for.
func waitingLine(task worklist.Task) string {
	line := fmt.Sprintf("%s（%s：%s）", task.Title, task.Source, task.ID)
	if len(task.BlockedBy) == 0 {
		return line + "：受阻"
	}
	others := strings.Join(task.BlockedBy[:min(len(task.BlockedBy), maxFor)], "、")
	if len(task.BlockedBy) > maxFor {
		others += fmt.Sprintf(" 等 %d 项", len(task.BlockedBy))
	}
	if task.Cycle {
		return line + "：互相等待，" + others
	}
	return line + "：等待 " + others
}

// readInstructions returns the HEARTBEAT.md of a workspace, "" where there is none.
func readInstructions(dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	file, err := os.OpenFile(filepath.Join(dir, instructionsName), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("opening instructions: %w", err)
	}
	defer func() { _ = file.Close() }() // only read from
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return "", errors.Join(fmt.Errorf("%s: expected a regular file", file.Name()), err)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxInstructions+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("reading instructions: %w", err)
	case len(text) > maxInstructions:
		return "", fmt.Errorf("%s: larger than %d KiB", file.Name(), maxInstructions>>10)
	case !utf8.Valid(text):
		return "", fmt.Errorf("%s: expected UTF-8", file.Name())
	}
	return strings.TrimSpace(string(text)), nil
}
