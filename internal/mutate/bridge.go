package main

// bridgeBreakages are about cards: what must not be lost, doubled, false or forged.
func bridgeBreakages() []Breakage {
	const (
		tests   = "./internal/alertbridge"
		cards   = "./internal/alertbridge/card"
		deliver = "./internal/alertbridge/deliver"
		digest  = "internal/alertbridge/store/digest.go"
		outcome = "internal/alertbridge/deliver/outcome.go"
		step    = "internal/alertbridge/deliver/step.go"
		judge   = "internal/alertbridge/card/judge.go"
		desk    = "internal/alertbridge/action/desk.go"
	)
	return []Breakage{
		{"a webhook without the token is refused", "internal/alertbridge/webhook/handler.go", "if authorized(r) {", "if authorized(r) || true {", tests + " -run=TestRefusals|TestBadInput"},
		{"a store that fails is answered 503, never 200", "internal/alertbridge/webhook/handler.go", "if err != nil {\n\t\th.refuse(w, r, err)\n\t\treturn\n\t}", "if err != nil {\n\t\thttpserve.WriteJSON(w, http.StatusOK, map[string]string{\"status\": \"ok\"})\n\t\treturn\n\t}", tests + " -run=TestStoreFailureIs503|TestTooManyOpenCards"},
		{"an alert that a notification leaves out is not resolved", "internal/alertbridge/card/apply.go", "changed := c.settle(before, n.At)", "for i := range c.Alerts {\n\t\tif c.Alerts[i].HeardAt.Before(n.At) {\n\t\t\tc.Alerts[i].Status = Ended\n\t\t}\n\t}\n\tchanged := c.settle(before, n.At)", cards},
		{"green needs evidence", judge, "if s.Evidence.covers(a.EndsAt) {", "if s.Evidence.covers(a.EndsAt) || true {", cards},
		{"absence means nothing before Alertmanager is up for long enough", judge, "known := s.Reachable && s.Settled && a.HeardAt.Before(s.Began)", "known := s.Reachable && a.HeardAt.Before(s.Began)", cards + " " + tests + " -run=TestRealAlertmanagerRestarted|Life"},
		{"a firing that looks old is asked about, not dropped", judge, "c.refire(a, a.StartsAt)\n\t\tcase !known:", "a.Status = Discarded\n\t\tcase !known:", cards},
		{"what is sent again has the same uuid", outcome, "if op == nil || op.Kind != kind {", "if op == nil || op.Kind == kind {", deliver + " " + tests + " -run=TestStoredBeforeSent|TestFaultsEndInOneCard"},
		{"an operation is stored before it is sent", outcome, "return doubted, x.store.Begin(ctx, x.leg)", "return doubted, nil", deliver + " -run=TestStoredBeforeSent"},
		{"a patch in doubt is waited for", step, "op.Kind == kindPatch && op.InDoubt && x.now.Before", "op.Kind == kindPatch && !op.InDoubt && x.now.Before", deliver + " -run=TestPatchInDoubt"},
		{"Feishu's own wait wins", outcome, "wait := e.RetryAfter\n\tif wait <= 0 {", "wait := e.RetryAfter\n\tif wait > 0 {", deliver + " -run=TestResetHeaderWins"},
		{"refused content goes on in a simpler form", outcome, "case !x.leg.Plain:\n\t\tx.leg.Plain = true", "case !x.leg.Plain && x.leg.Text:\n\t\tx.leg.Plain = true", tests + " -run=TestRefusedContent"},
		{"a way that is given up leaves a dead letter", "internal/alertbridge/store/dead.go", "return insertDead(ctx, tx, DeadLetter{CardID: c.ID,", "return nil\n\t\treturn insertDead(ctx, tx, DeadLetter{CardID: c.ID,", tests + " -run=TestRefusedContent|TestReceiverWithoutCredentials"},
		{"a firing card is never given up for its age", step, "age > 0 && x.card.Closed() && x.now.Sub(x.card.ClosedAt) > age", "age > 0 && x.now.Sub(x.card.OpenedAt) > age", deliver + " -run=TestFiringIsNeverTooOld"},
		{"the next way is used when the one before fails", outcome, "if next == \"\" {", "if next != \"\" {", deliver + " -run=TestFailover|TestGoneForGood"},
		{"the next way waits for as long as is configured", outcome, "at := x.leg.FailingSince.Add(x.receiver.FailoverAfter)", "at := x.leg.FailingSince", deliver + " -run=TestFailover"},
		{"no chat gets more than Feishu takes", "internal/alertbridge/deliver/limit.go", "return []window{{time.Second, 5}} }", "return []window{{time.Second, 50}} }", deliver + " " + tests + " -run=TestStorm|TestLimitsAreKept"},
		{"a storm is put together", "internal/alertbridge/deliver/dispatcher.go", "if storm.PerMinute > 0 && leg.First() {", "if storm.PerMinute < 0 && leg.First() {", deliver + " -run=TestStorm"},
		{"the share of a minute outlives the process", "internal/alertbridge/deliver/digest.go", "d.gates.seen(storm.target(lane), at)", "_, _ = lane, at", deliver + " -run=TestStormOverARestart"},
		{"criticals get cards of their own first", digest, "c.state = 'firing' ORDER BY l.rank, l.pending_since LIMIT ?3)", "c.state = 'firing' ORDER BY l.rank DESC, l.pending_since LIMIT ?3)", deliver + " -run=TestStormMakesOneDigest"},
		{"a digest with news of a critical is sent soon", digest, "WHEN ?2 AND coalesce(body ->> 'soon', 0) > 0", "WHEN NOT ?2 AND coalesce(body ->> 'soon', 0) > 0", deliver + " -run=TestStormIsPaced"},
		{"what is over by the time there is room gets no card", digest, "l.rank < ?4 AND c.state = 'firing' ORDER BY", "l.rank < ?4 + 9 ORDER BY", deliver + " -run=TestStormMakesOneDigest|TestSilencedInAStorm"},
		{"a digest ends when all that it told of has", digest, "if err != nil || open > 0 {", "if err != nil || open >= 0 {", deliver + " -run=TestStormMakesOneDigest"},
		{"a digest that is refused loses nothing", digest, "letter.CardID, letter.Title = c.ID, title(c)\n", "letter.CardID, letter.Title = c.ID, title(c)\n\t\tif letter.Title != \"\" {\n\t\t\tcontinue\n\t\t}\n", deliver + " -run=TestStormThatIsRefused"},
		{"bots that hang delay no other bot", "internal/alertbridge/deliver/config.go", "windows: botLimits(), atOnce: botWorkers}}", "windows: botLimits()}, {key: \"bots\", atOnce: 8}}", deliver + " -run=TestBotsThatHang"},
		{"a group that never ends does not grow", "internal/alertbridge/card/apply.go", "at.Sub(a.EndsAt) > endedLife", "at.Sub(a.EndsAt) > 1000*endedLife", cards},
		{"a letter is replayed however old its card is", "internal/alertbridge/deliver/step.go", " && x.now.Sub(x.leg.ReplayedAt) > age", "", deliver + " -run=TestReplayOfWhatIsOver"},
		{"the card of a letter is kept with it", "internal/alertbridge/store/store.go", "AND id NOT IN (SELECT card_id FROM dead WHERE replayed_at IS NULL) LIMIT ?", "LIMIT ?", deliver + " -run=TestReplayOfWhatIsOver"},
		{"open cards follow the templates", "internal/alertbridge/assemble.go", "return p.Look() + \" templates \" + v", "return p.Look()", tests + " -run=TestOpenCardsFollowTheTemplates"},
		{"a forged value is refused", "internal/alertbridge/action/value.go", "if !hmac.Equal([]byte(mac), []byte(s.mac(text))) {", "if !hmac.Equal([]byte(mac), []byte(mac)) {", "./internal/alertbridge/action"},
		{"a value ends", "internal/alertbridge/action/value.go", "if !now.Before(v.Expires) {", "if now.IsZero() {", "./internal/alertbridge/action"},
		{"a stranger's press changes nothing", desk, "case !slices.Contains(policy.Operators, p.Operator):", "case slices.Contains(policy.Operators, \"nobody\"):", "./internal/alertbridge/action " + tests + " -run=TestOffers|TestPresses|TestButtons"},
		{"an event counts once", "internal/alertbridge/store/press.go", "SELECT result FROM presses WHERE event_id = ?`", "SELECT result FROM presses WHERE event_id = ? || 'x'`", "./internal/alertbridge/action " + tests + " -run=TestEventDeliveredTwice|TestOffers"},
		{"a button of a state that has passed changes nothing", desk, "case !p.Silencing || v.Turn != c.Holds:", "case !p.Silencing:", "./internal/alertbridge/action " + tests + " -run=TestReplayedSilence|TestOffers"},
		{"acknowledging stops escalation", "internal/alertbridge/store/escalate.go", "AND o.closed_at IS NULL AND o.acked = 1)`", "AND o.closed_at IS NULL AND o.acked = 2)`", tests + " -run=TestAcknowledgementStopsEscalation"},
		{"a receiver hears the end of what it saw begin", "internal/alertbridge/store/accept.go", "if c.Has(a.Fingerprint) && !slices.Contains(names, c.Receiver) {", "if !c.Has(a.Fingerprint) && !slices.Contains(names, c.Receiver) {", tests + " -run=TestWhoSawItBegin"},
		{"label text is no markup in text messages", "internal/alertbridge/render/text.go", "strings.ReplaceAll(s, \"<\", \"＜\")", "strings.ReplaceAll(s, \"<<<\", \"＜\")", "./internal/alertbridge/render"},
		{"characters that nobody can see are shown", "internal/alertbridge/render/element.go", "visible.Text(content)", "visible.Text(\"\") + content", "./internal/alertbridge/render"},
	}
}
