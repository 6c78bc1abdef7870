package main

// sourceBreakages are about task boards: what cannot be read or understood is unknown,
// and one call serves the fleet.
func sourceBreakages() []Breakage {
	const (
		command  = "internal/tasksource/command/command.go"
		cards    = "internal/tasksource/workboard/workboard.go"
		issues   = "internal/tasksource/multica/multica.go"
		source   = "internal/heartbeat/preflight/source.go"
		calls    = "./internal/tasksource/command"
		boards   = "./internal/tasksource/workboard"
		multica  = "./internal/tasksource/multica"
		surveys  = "./internal/heartbeat/preflight"
		wholeWay = "./internal/heartbeat -run=TestFromBoardsToAPI"
	)
	return []Breakage{
		{"a command line that hangs is ended with all that it started", command, "syscall.Kill(-cmd.Process.Pid", "syscall.Kill(cmd.Process.Pid", calls + " -run=TestHangs"},
		{"a command line is never called twice at a time", command, "place: make(chan struct{}, 1)", "place: make(chan struct{}, 2)", calls + " -run=TestNeverTwoAtOnce"},
		{"no part of a secret is left where a limit cuts", command, "words = words[:len(words)-1]", "words = words[:len(words):len(words)]", calls + " -run=TestFailures"},
		{"a card whose status is not known is never done", cards, "\treturn place{}, false\n", "\treturn place{tasksource.Done, false}, true\n", boards},
		{"a list without cards is no empty list", cards, "case list.Cards == nil:", "case list.Cards == nil && len(out) == 0:", boards + " -run=TestGarbage"},
		{"a card that was archived unfinished is not done", cards, "place.state != tasksource.Done:", "place.state == tasksource.Done:", boards + " -run=TestRead"},
		{"every page of issues is read", issues, "return read >= p.Total && len(*p.Issues) < pageSize", "return read >= p.Total || len(*p.Issues) < pageSize", multica + " -run=TestPages"},
		{"fewer issues than were told are no answer", issues, "case len(all) < p.Total:", "case len(all) < 0:", multica + " -run=TestCommandLineFails"},
		{"an assignee that a board does not know is unknown", "internal/tasksource/board.go", "case len(ids) == 0:\n", "case len(ids) < 0:\n", "./internal/tasksource -run=TestBoardOf"},
		{"a board is read once for the whole fleet", "internal/heartbeat/preflight/survey.go", "key.agent = \"\"", "key.agent = agent.ID", surveys + " -run=TestOneCall"},
		{"a failure is kept shorter than an answer", source, "kept /= failuresKept", "kept *= failuresKept", surveys + " -run=TestAFailure"},
		{"an old answer is not used for ever", source, "time.Since(a.at) < s.Cache+s.Timeout", "time.Since(a.at) < 1000*s.Cache", surveys + " -run=TestASourceOfAllThatIsDeaf"},
		{"what is kept for later is given to nobody", "internal/tasksource/task.go", "t.State == Todo && !t.Parked &&", "t.State == Todo &&", "./internal/tasksource " + wholeWay},
		{"looking on does not ask a board again", "internal/heartbeat/tasks.go", "a.tasks.Look(ctx, j.Agent, false)", "a.tasks.Look(ctx, j.Agent, true)", wholeWay},
		{"pending cards of a part of the fleet are no number", "internal/exporter/collector/tasks.go", "if !a.Work.knows(workboard.Name) {", "if a.Work == nil {", "./internal/exporter/collector -run=TestPendingCards"},
	}
}
