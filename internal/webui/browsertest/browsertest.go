// Package browsertest gives tests a real Chromium. It is for tests only.
package browsertest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// limit ends a browser that hangs.
const limit = 2 * time.Minute

// View is how the page is looked at.
type View struct {
	Width, Height int64
	Dark          bool
	Language      string // Accept-Language; empty is zh-CN
}

// Desktop and Phone are the usual sizes.
func Desktop() View { return View{Width: 1280, Height: 860} }

// Phone returns the size of a common phone.
func Phone() View { return View{Width: 390, Height: 844} }

// Open returns a tab of a fresh browser, for chromedp.Do and chromedp.Run. At the
// end of the test, scripts that failed and whatever the page's security policy
// blocked fail it. Without a Chromium the test is skipped, or fails where
// REQUIRE_ALL=1.
func Open(t testing.TB, view View) context.Context {
	t.Helper()
	binary := find()
	if binary == "" {
		if os.Getenv("REQUIRE_ALL") == "1" {
			t.Fatal("Chromium is needed: apt-get install chromium, or put it on PATH")
		}
		t.Skip("skipped: Chromium is not installed (apt-get install chromium)")
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(binary), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("hide-scrollbars", true))...)
	t.Cleanup(cancel)
	var found problems
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithListener(found.listen))
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil { // waits until the browser has ended
			t.Logf("ending Chromium: %v", err)
		}
		cancel()
		found.report(t)
	})
	if err := look(ctx, view); err != nil {
		t.Fatalf("starting Chromium: %v", err)
	}
	return ctx
}

// problems collects what goes wrong inside the page.
type problems struct {
	mu    sync.Mutex
	lines []string
}

func (p *problems) listen(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch event := event.(type) {
	case *runtime.EventExceptionThrown:
		line := event.ExceptionDetails.Text
		if thrown := event.ExceptionDetails.Exception; thrown != nil {
			line += ": " + thrown.Description
		}
		p.lines = append(p.lines, "script failed: "+line)
	case *log.EventEntryAdded:
		if event.Entry.Source == log.EntrySourceSecurity {
			p.lines = append(p.lines, "blocked by the page's policy: "+event.Entry.Text)
		}
	}
}

func (p *problems) report(t testing.TB) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.lines {
		t.Error(line)
	}
}

func look(ctx context.Context, view View) error {
	scheme, language := "light", view.Language
	if view.Dark {
		scheme = "dark"
	}
	if language == "" {
		language = "zh-CN"
	}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(view.Width, view.Height, chromedp.EmulateScale(1))); err != nil {
		return err
	}
	if _, err := chromedp.Call(ctx, network.SetExtraHTTPHeaders,
		network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": language}}); err != nil {
		return err
	}
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
	return err
}

func find() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if binary, err := exec.LookPath(name); err == nil {
			return binary
		}
	}
	return ""
}

// Screenshot writes what the tab shows into the folder as name.png; an empty folder
// writes nothing.
func Screenshot(t testing.TB, ctx context.Context, folder, name string) {
	t.Helper()
	if folder == "" {
		return
	}
	image, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatalf("screenshot %s: %v", name, err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name+".png"), image, 0o644); err != nil {
		t.Fatal(err)
	}
}
