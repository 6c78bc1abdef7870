package webui_test

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/webui"
)

func pages() fstest.MapFS {
	return fstest.MapFS{
		"one.html":  {Data: []byte(`{{define "title"}}{{t "标题" "Title"}}{{end}}{{define "main"}}<p>{{.Data}}</p>{{template "part" .}}{{end}}{{define "part"}}<i>{{.Lang}}</i>{{end}}`)},
		"extra.css": {Data: []byte("p { color: red; }")},
	}
}

func serve(t *testing.T) string {
	t.Helper()
	ui, err := webui.New(webui.Program{Name: "test program"}, pages())
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/assets/", ui)
	mux.HandleFunc("/part", func(w http.ResponseWriter, r *http.Request) {
		if err := ui.Fragment(w, r, "one.html", "part", nil); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("/missing", func(w http.ResponseWriter, r *http.Request) {
		if err := ui.Render(w, r, "none.html", nil); err == nil {
			t.Error("a page that is not there was rendered")
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if err := ui.Render(w, r, "one.html", `<script>"&`); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(webui.Guard(mux))
	t.Cleanup(server.Close)
	return server.URL
}

func do(t *testing.T, method, url string, headers map[string]string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestLanguage(t *testing.T) {
	url := serve(t)
	cases := []struct{ accept, cookie, title string }{
		{"", "", "标题"},
		{"en-GB,en;q=0.9", "", "Title"},
		{"zh-TW", "", "标题"},
		{"fr,en;q=0.5", "", "Title"},
		{"fr", "", "标题"},
		{"zh-CN", "fleetwatch_lang=en", "Title"},
		{"en", "fleetwatch_lang=nonsense", "Title"},
	}
	for _, c := range cases {
		_, body := do(t, http.MethodGet, url+"/", map[string]string{"Accept-Language": c.accept, "Cookie": c.cookie})
		if !strings.Contains(body, "<title>"+c.title+" · Fleetwatch</title>") {
			t.Errorf("%+v: got %.200s", c, body)
		}
	}
}

func TestChoiceBecomesACookie(t *testing.T) {
	url := serve(t)
	resp, _ := do(t, http.MethodGet, url+"/page?lang=en&chat=a&theme=dark", nil)
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/page?chat=a" || len(resp.Cookies()) != 2 {
		t.Errorf("%d to %q, cookies %v", resp.StatusCode, resp.Header.Get("Location"), resp.Cookies())
	}
	if resp, _ = do(t, http.MethodGet, url+"/?lang=tlh", nil); resp.StatusCode != http.StatusOK {
		t.Errorf("an unknown language: %d", resp.StatusCode)
	}
	_, body := do(t, http.MethodGet, url+"/", map[string]string{"Cookie": "fleetwatch_theme=dark"})
	if !strings.Contains(body, `data-theme="dark"`) {
		t.Errorf("the theme is not kept: %.200s", body)
	}
	// A path with two slashes must not lead to another host.
	rec := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	req.URL.Path, req.URL.RawQuery = "//other.example/", "lang=en"
	webui.Guard(http.NotFoundHandler()).ServeHTTP(rec, req)
	if to := rec.Header().Get("Location"); to != "/other.example/" {
		t.Errorf("redirected to %q", to)
	}
}

func TestGuard(t *testing.T) {
	url := serve(t)
	resp, body := do(t, http.MethodGet, url+"/", nil)
	if strings.Contains(body, `<script>"`) || !strings.Contains(body, "&lt;script&gt;") {
		t.Errorf("not escaped: %s", body)
	}
	if resp.Header.Get("X-Frame-Options") != "DENY" {
		t.Error("the page may be framed by browsers that do not know frame-ancestors")
	}
	policy := resp.Header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("policy %q lacks %q", policy, part)
		}
	}
	if resp, _ = do(t, http.MethodPost, url+"/", map[string]string{"Sec-Fetch-Site": "cross-site"}); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a form of another site: %d", resp.StatusCode)
	}
	if resp, _ = do(t, http.MethodPost, url+"/", map[string]string{"Sec-Fetch-Site": "same-origin"}); resp.StatusCode != http.StatusOK {
		t.Errorf("a form of this site: %d", resp.StatusCode)
	}
}

func TestAssetsAndParts(t *testing.T) {
	url := serve(t)
	_, body := do(t, http.MethodGet, url+"/", nil)
	found := 0
	for quoted := range strings.SplitSeq(body, `"`) {
		if !strings.HasPrefix(quoted, "/assets/") {
			continue
		}
		found++
		resp, _ := do(t, http.MethodGet, url+quoted, nil)
		if resp.StatusCode != http.StatusOK || !strings.Contains(resp.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %v", quoted, resp.StatusCode, resp.Header)
		}
	}
	if found != 3 {
		t.Errorf("the page names %d files, want shared style, shared script, own style", found)
	}
	if resp, _ := do(t, http.MethodGet, url+"/assets/none.css", nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("a file that is not there: %d", resp.StatusCode)
	}
	if _, part := do(t, http.MethodGet, url+"/part", nil); part != "<i>zh-CN</i>" {
		t.Errorf("part %q", part)
	}
	do(t, http.MethodGet, url+"/missing", nil)
}

func TestNewRefusesABrokenPage(t *testing.T) {
	if _, err := webui.New(webui.Program{}, fstest.MapFS{"bad.html": {Data: []byte("{{define")}}); err == nil || !strings.Contains(err.Error(), "bad.html") {
		t.Errorf("got %v", err)
	}
}

func TestAgo(t *testing.T) {
	cases := []struct {
		d      time.Duration
		zh, en string
	}{
		{-time.Second, "刚刚", "just now"}, {0, "刚刚", "just now"}, {59 * time.Second, "59 秒前", "59 s ago"},
		{time.Minute, "1 分钟前", "1 min ago"}, {90 * time.Minute, "1 小时前", "1 h ago"}, {49 * time.Hour, "2 天前", "2 d ago"},
	}
	for _, c := range cases {
		if zh, en := webui.Ago("zh-CN", c.d), webui.Ago("en", c.d); zh != c.zh || en != c.en {
			t.Errorf("%v: %q, %q", c.d, zh, en)
		}
	}
}

func TestSpan(t *testing.T) {
	cases := []struct {
		d            time.Duration
		zh, en, left string
	}{
		{-time.Second, "0 秒", "0 s", "0:00"}, {1500 * time.Millisecond, "1 秒", "1 s", "0:02"}, {61 * time.Second, "1 分钟 1 秒", "1 min 1 s", "1:01"},
		{time.Hour + 5*time.Second, "1 小时 0 分钟", "1 h 0 min", "1:00:05"}, {49*time.Hour + time.Minute, "2 天 1 小时", "2 d 1 h", "49:01:00"},
	}
	for _, c := range cases {
		if zh, en, left := webui.Span("zh-CN", c.d), webui.Span("en", c.d), webui.Left(c.d); zh != c.zh || en != c.en || left != c.left {
			t.Errorf("%v: %q, %q, %q", c.d, zh, en, left)
		}
	}
}

func TestShort(t *testing.T) {
	for in, want := range map[string]string{
		"model": "model", "0123456789": "0123456789", "0123456789a": "012345678…", "a\nb": "a b", "a\u202eb": "a\ufffdb",
		strings.Repeat("x", 10_000): "xxxxxxxxx…", strings.Repeat("名", 11): "名名名名名名名名名…", strings.Repeat("\U0001F600", 10): strings.Repeat("\U0001F600", 10),
		strings.Repeat("\u0300", 10_000): "\u0300\u0300\u0300\u0300\ufffd…",
	} {
		if got := webui.Short(in, 10); got != want {
			t.Errorf("%.20q: %q, want %q", in, got, want)
		}
	}
}

func TestGroup(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567"} {
		if got := webui.Group(n); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}

// TestPartsAndSwitches: what begins with _ is part of every page and is none itself, and
// a switch keeps the rest of the query.
func TestPartsAndSwitches(t *testing.T) {
	folder := pages()
	folder["_all.html"] = &fstest.MapFile{Data: []byte(`{{define "refresh"}}<meta name="robots" content="noindex">{{end}}{{define "banner"}}<b>{{show .Data}}</b>{{end}}`)}
	ui, err := webui.New(webui.Program{Home: "/first"}, folder)
	if err != nil {
		t.Fatal(err)
	}
	rec, req := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/?model=a%26b", nil)
	if err := ui.RenderStatus(rec, req, http.StatusTeapot, "one.html", "<i>"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<b>&lt;i&gt;</b>", `href="/first"`, `href="?lang=en&amp;model=a%26b"`, `href="?model=a%26b&amp;theme=dark"`} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("the page lacks %s: %s", want, rec.Body)
		}
	}
	if rec.Code != http.StatusTeapot || strings.Contains(rec.Body.String(), "http-equiv") {
		t.Errorf("%d, or the page loads itself anew: %s", rec.Code, rec.Body)
	}
	if err := ui.Render(httptest.NewRecorder(), req, "_all.html", nil); err == nil {
		t.Error("a part is a page")
	}
	folder["_bad.html"] = &fstest.MapFile{Data: []byte("{{if")}
	if _, err := webui.New(webui.Program{}, folder); err == nil || !strings.Contains(err.Error(), "_bad.html") {
		t.Errorf("a broken part: %v", err)
	}
}

// stream asks for an event stream.
func stream(t *testing.T, handler http.HandlerFunc) *bufio.Scanner {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	resp, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return bufio.NewScanner(resp.Body)
}

func TestFrames(t *testing.T) {
	frames, end, left := make(chan []byte), make(chan struct{}), make(chan struct{})
	var may atomic.Bool
	may.Store(true)
	lines := stream(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(left)
		webui.Frames(w, r, end, frames, may.Load)
	})
	frames <- []byte("one")
	frames <- []byte("two")
	for _, want := range []string{"data: one", "", "data: two", ""} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("got %q, want %q", lines.Text(), want)
		}
	}
	may.Store(false)
	frames <- []byte("three")
	<-left
	if lines.Scan() {
		t.Errorf("%q came to somebody who may not look any more", lines.Text())
	}
	ended := make(chan struct{})
	stream(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		webui.Frames(w, r, end, frames, func() bool { return true })
	})
	close(end)
	<-ended
}

func TestLiveSaysChangedAndEnds(t *testing.T) {
	var mu sync.Mutex
	changed, end := make(chan struct{}), make(chan struct{})
	lines := stream(t, func(w http.ResponseWriter, r *http.Request) {
		webui.Live(w, r, end, time.Millisecond, func() <-chan struct{} {
			mu.Lock()
			defer mu.Unlock()
			return changed
		})
	})
	event := func() bool {
		for lines.Scan() {
			if lines.Text() == "event: changed" {
				return true
			}
		}
		return false
	}
	if !event() {
		t.Fatal("no first event")
	}
	mu.Lock()
	close(changed)
	changed = make(chan struct{})
	mu.Unlock()
	if !event() {
		t.Fatal("no event after the change")
	}
	close(end)
	if event() {
		t.Error("the stream went on after its end")
	}
}
