//go:build e2e

package e2e

import (
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/fleetwatch/fleetwatch/internal/stack"
	"github.com/fleetwatch/fleetwatch/internal/webui/browsertest"
)

// picture looks at the page in a real browser, asks that it shows a card of each
// colour, and writes docs/img/sandbox-cards.png.
func (r *running) picture(t *testing.T) {
	t.Helper()
	ctx := browsertest.Open(t, browsertest.View{Width: 1100, Height: 1500})
	if err := chromedp.Do(ctx, chromedp.Navigate(r.Layout.URL(stack.SandboxFeishu)+"/?lang=zh-CN")); err != nil {
		t.Fatal(err)
	}
	for _, colour := range []string{"red", "grey", "green"} {
		if err := chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS(`[data-template="`+colour+`"]`))); err != nil {
			t.Fatalf("the page shows no %s card: %v", colour, err)
		}
	}
	browsertest.Screenshot(t, ctx, filepath.Join(r.Layout.Root, "docs", "img"), "sandbox-cards")
}
