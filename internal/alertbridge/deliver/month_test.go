package deliver_test

import (
	"database/sql"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	sandbox "github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

// TestAMonthOfStorms: with a storm a day, of which every third is refused by the bot,
// the store stops growing once retention deletes what comes in; and nothing stays for
// ever, no digest and no leg.
func TestAMonthOfStorms(t *testing.T) {
	inBubble(t, fivePerMinute(), func(b *bubble) {
		b.stop()
		sizes := []int64{}
		for day := range 40 {
			b.start()
			if day%3 == 0 {
				b.fault(sandbox.Fault{Kind: sandbox.FaultBadRequest, Ops: []sandbox.Op{sandbox.OpBot}, Seconds: 1200})
			}
			for _, receiver := range []string{"chat", "bot", "both"} {
				b.tell(receiver, card.Firing, groups(fmt.Sprintf("Alert%d", day%7), []string{"critical", "warning"}[day%2], 12)...)
			}
			b.wait(90 * time.Second) // some have cards of their own by then
			for _, receiver := range []string{"chat", "bot", "both"} {
				b.tell(receiver, card.Resolved, groups(fmt.Sprintf("Alert%d", day%7), []string{"critical", "warning"}[day%2], 12)...)
			}
			b.wait(25 * time.Minute)
			b.sweep()
			b.stop()
			info, err := os.Stat(b.file)
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, info.Size())
			time.Sleep(24*time.Hour - 30*time.Minute)
		}
		if day25, day40 := sizes[24], sizes[39]; day40 > day25+day25/10 {
			t.Errorf("the file has %d bytes after 25 days and %d after 40", day25, day40)
		}
		time.Sleep(40 * 24 * time.Hour)
		b.start()
		b.wait(time.Minute)
		b.sweep()
		b.stop()
		for _, table := range []string{"cards", "legs", "dead", "presses", "audit"} {
			if n := b.count(table); n != 0 {
				t.Errorf("%d rows of %s stay for ever", n, table)
			}
		}
		b.start()
	})
}

// sweep deletes as the program does: cards after 14 days, letters after 20.
func (b *bubble) sweep() {
	b.t.Helper()
	now := time.Now()
	if err := b.store.Sweep(b.ctx, now.Add(-14*24*time.Hour), now.Add(-20*24*time.Hour)); err != nil {
		b.t.Fatal(err)
	}
}

// count is how many rows a table has while nothing runs.
func (b *bubble) count(table string) (n int) {
	b.t.Helper()
	db, err := sql.Open("sqlite", "file:"+b.file)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.QueryRowContext(b.ctx, "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		b.t.Fatal(err)
	}
	return n
}
