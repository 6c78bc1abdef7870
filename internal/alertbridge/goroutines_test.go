package alertbridge_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

// ours are the goroutines that run code of the bridge's packages, each by its stack.
func ours() []string {
	text := make([]byte, 1<<20)
	for n := runtime.Stack(text, true); ; n = runtime.Stack(text, true) {
		if n < len(text) {
			text = text[:n]
			break
		}
		text = make([]byte, 2*len(text))
	}
	var out []string
	for stack := range strings.SplitSeq(string(text), "\n\n") {
		if strings.Contains(stack, "fleetwatch/internal/alertbridge/") || strings.Contains(stack, "fleetwatch/internal/alertbridge.") {
			out = append(out, stack)
		}
	}
	return out
}

// TestGoroutines: reloads leave no goroutine behind, neither does the end. Connections
// that are idle go by themselves, and are not counted.
func TestGoroutines(t *testing.T) {
	fs := newFeishu(t, feishu.Options{Bots: map[string]feishu.Bot{"tok-1": {Name: "ops"}}})
	b := startBridge(t, settings{feishu: fs.url, operators: "ou_ana", alertmanager: "http://127.0.0.1:9", receivers: fmt.Sprintf(`
  - name: oncall
    app: {receive_id_type: chat_id, receive_id: oc_oncall}
    mention: [ou_ana]
    escalate: [{after: 1h, urgent: app}]
  - name: coo
    webhook: {url: "%s/open-apis/bot/v2/hook/tok-1"}
`, fs.url)})
	cards := []string{}
	use := func(i int) {
		t.Helper()
		name := fmt.Sprintf("a-%02d", i)
		b.post(payload(group(name), down(name, "critical", time.Now())))
		cards = append(cards, "red 🚨 [CRITICAL] "+name+" is down")
		fs.waitCards(t, cards...)
	}
	use(0)
	b.waitConnected()
	at := len(ours())
	for i := range 15 {
		if err := b.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		use(i + 1)
	}
	eventually(t, func() bool { return len(ours()) <= at }, func() string {
		return fmt.Sprintf("%d goroutines, before the reloads %d:\n%s", len(ours()), at, strings.Join(ours(), "\n\n"))
	})
	b.stop()
	eventually(t, func() bool { return len(ours()) == 0 }, func() string { return "after the end:\n" + strings.Join(ours(), "\n\n") })
}
