package alertbridge_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

// TestDigestInTheAPI: the list of cards names a digest for what it is, and says of
// the cards that it tells of that they do not wait.
func TestDigestInTheAPI(t *testing.T) {
	fs := newFeishu(t, feishu.Options{})
	b := startBridge(t, settings{feishu: fs.url, extra: "storm: {per_receiver_per_minute: 2}"})
	for i := range 5 {
		agent := fmt.Sprintf("agent-%d", i)
		b.post(payload(group(agent), down(agent, "critical", time.Now().Add(-time.Minute))))
	}
	type listing struct {
		Cards []struct {
			Title  string
			Digest *struct{ Total int }
			Legs   []struct {
				Pending bool
				Digest  string
			}
		}
	}
	held, title := 0, ""
	eventually(t, func() bool {
		var list listing // a fresh one: what is left out would stay
		status, body := b.do(http.MethodGet, "/api/cards", "admin-token-value", "")
		if err := json.Unmarshal([]byte(body), &list); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s %v", status, body, err)
		}
		held, title = 0, ""
		for _, c := range list.Cards {
			if c.Digest != nil {
				title = c.Title
			}
			for _, l := range c.Legs {
				if l.Digest != "" && !l.Pending {
					held++
				}
			}
		}
		return held == 3 && strings.Contains(title, "本轮合并 3 组")
	}, func() string { return fmt.Sprintf("%d cards in %q, want 3", held, title) })
}
