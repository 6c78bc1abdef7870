package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway"
)

// Parts of the benchmark that run in processes of their own, so that the processor
// time of the gateway is its own: the variable says which, the text behind the colon
// is its argument.
const childPart = "GATEWAY_TEST_PART"

// playPart is what such a process does.
func playPart(part string) {
	kind, argument, _ := strings.Cut(part, ":")
	var handler http.Handler = http.HandlerFunc(upstream)
	if kind == "proxy" {
		target, err := url.Parse(argument)
		if err != nil {
			panic(err)
		}
		handler = &httputil.ReverseProxy{Transport: gateway.Transport(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(os.Stderr, listener.Addr())
	panic(http.Serve(listener, handler))
}

const benchAnswer = `{"id":"chatcmpl-1","object":"chat.completion","created":1764000000,"model":"native","choices":[{"index":0,"message":{"role":"assistant","content":"` +
	`Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore magna aliqua. Ut enim ad minim veniam, quis nostrud.` +
	`"},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":250,"completion_tokens":40,"total_tokens":290,"prompt_tokens_details":{"cached_tokens":64}}}`

func benchChunk(delta, finish string) string {
	return `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1764000000,"model":"native","choices":[{"index":0,"delta":` + delta + `,"logprobs":null,"finish_reason":` + finish + "}],\"usage\":null}\n\n"
}

// upstream answers as fast as it can: plain, in 64 chunks, or, where the prompt says
// so, with one chunk and then nothing, or with nothing at all.
func upstream(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		return
	case strings.HasPrefix(r.URL.Path, "/silent/") && bytes.Contains(body, []byte("please hang")):
		<-r.Context().Done()
		return
	case !bytes.Contains(body, []byte(`"stream":true`)):
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, benchAnswer)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	chunk := benchChunk(`{"content":" some words"}`, "null")
	for range 64 {
		_, _ = io.WriteString(w, chunk)
		_ = out.Flush()
		if bytes.Contains(body, []byte("please idle")) {
			<-r.Context().Done()
			return
		}
	}
	_, _ = io.WriteString(w, benchChunk("{}", `"stop"`)+`data: {"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":250,"completion_tokens":64,"total_tokens":314}}`+"\n\ndata: [DONE]\n\n")
}

// process is a part in a process of its own.
type process struct {
	command *exec.Cmd
	url     string
	// forgiven is how many failures are let pass: now and then httputil.ReverseProxy
	// cuts a stream (it reads from a connection that its own transport has closed).
	forgiven atomic.Int64
}

func startPart(b *testing.B, part string) *process {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	p := &process{command: exec.Command(self)}
	p.command.Env = append(os.Environ(), childPart+"="+part)
	stderr, err := p.command.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewReader(stderr)
	address, err := lines.ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	p.url = "http://" + strings.TrimSpace(address)
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	b.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	_ = p.command.Process.Kill()
	_ = p.command.Wait()
}

// cpu is the processor time that the process has used.
func (p *process) cpu(b *testing.B) time.Duration {
	b.Helper()
	var total time.Duration
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.command.Process.Pid))
	if err != nil || len(tasks) == 0 {
		b.Skip("skipped: processor time is read from Linux' /proc")
	}
	for _, file := range tasks {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		total += time.Duration(ns)
	}
	return total
}

// rss is the process' memory in KB.
func (p *process) rss(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("no VmRSS")
	return 0
}

// settled waits until the memory no longer changes, and returns it.
func (p *process) settled(b *testing.B) float64 {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := 0.0
	for range 20 {
		<-tick.C
		now := p.rss(b)
		if now == last {
			break
		}
		last = now
	}
	return last
}

// buildGateway builds the program that people run: this test's own binary holds much
// that the gateway does not.
func buildGateway(b *testing.B) (file string) {
	b.Helper()
	file = filepath.Join(b.TempDir(), "gateway")
	if out, err := exec.Command("go", "build", "-o", file, "../../cmd/gateway").CombinedOutput(); err != nil {
		b.Fatalf("building the gateway: %v\n%s", err, out)
	}
	return file
}

func startGateway(b *testing.B, program, upstream string) *process {
	b.Helper()
	config := writeConfig(b, settings{providers: upstream, routing: "first_byte_timeout: 300ms", backend: "timeout: 300ms"})
	text, err := os.ReadFile(config)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(config, bytes.Replace(text, []byte("/primary-1, "), []byte("/silent, "), 1), 0o600); err != nil {
		b.Fatal(err)
	}
	c := watch(b, exec.Command(program, "serve", "-config", config, "-log.format", "json"))
	return &process{command: c.command, url: "http://" + c.data}
}

// kinds of requests.
func benchBody(stream bool, size int, word string) string {
	text := word + strings.Repeat(`tell me more about it, \"please\".\n`, size/34)
	return fmt.Sprintf(`{"model":%q,"stream":%t,"temperature":0.7,"messages":[{"role":"system","content":"You are helpful."},{"role":"user","content":"%s"}]}`, model, stream, text)
}

var benchClient = &http.Client{Transport: &http.Transport{MaxIdleConns: 64, MaxIdleConnsPerHost: 64, DisableCompression: true}}

// tail keeps the end of what is written to it.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append((*t)[:0], p[max(0, len(p)-200):]...)
	return len(p), nil
}

func ask(ctx context.Context, target, body string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+clientKey)
	r.Header.Set("Content-Type", "application/json")
	response, err := benchClient.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var tail tail
	if _, err := io.Copy(&tail, response.Body); err != nil {
		return fmt.Errorf("%s, answered by %q: %w", target, response.Header.Get("X-Gateway-Backend"), err)
	}
	if strings.Contains(body, `"stream":true`) && !strings.HasSuffix(string(tail), "[DONE]\n\n") {
		return fmt.Errorf("%s: the stream is not whole: %s", target, tail)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: status %d", target, response.StatusCode)
	}
	return nil
}

// hammer sends n requests, so many at a time, and returns the processor time of the
// process for each, and requests per second.
func hammer(b *testing.B, p *process, n, at int, body string) (cpu time.Duration, rate float64) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(n))
	before, began := p.cpu(b), time.Now()
	var wait sync.WaitGroup
	for range at {
		wait.Go(func() {
			for left.Add(-1) >= 0 {
				if err := ask(b.Context(), p.url, body); err != nil && p.forgiven.Add(-1) < 0 {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	return (p.cpu(b) - before) / time.Duration(n), float64(n) / time.Since(began).Seconds()
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// compare runs the same load through both, in turns, and reports the middle ratios.
func compare(b *testing.B, proxy, gateway *process, n int, body string) (cpu, rate float64) {
	b.Helper()
	const turns = 5
	hammer(b, proxy, n/4, 16, body)
	hammer(b, gateway, n/4, 16, body)
	var cpus, rates, micros []float64
	for range turns {
		proxyCPU, proxyRate := hammer(b, proxy, n, 16, body)
		gatewayCPU, gatewayRate := hammer(b, gateway, n, 16, body)
		cpus, rates = append(cpus, float64(gatewayCPU)/float64(proxyCPU)), append(rates, gatewayRate/proxyRate)
		micros = append(micros, float64(gatewayCPU.Microseconds()), float64(proxyCPU.Microseconds()))
	}
	b.Logf("gateway, proxy in us of processor time: %v", micros)
	return median(cpus), median(rates)
}

// added is what the gateway adds to the 50th and 99th percentile of requests one after
// another: the middle of several turns, so that a machine that changes its pace
// meanwhile does it to both.
func added(b *testing.B, direct, gateway *process, body string) (p50, p99 float64) {
	b.Helper()
	const turns, n = 5, 1000
	latencies(b, direct, n/2, body)
	latencies(b, gateway, n/2, body)
	var fifties, nineties []float64
	for range turns {
		direct50, direct99 := latencies(b, direct, n, body)
		through50, through99 := latencies(b, gateway, n, body)
		fifties, nineties = append(fifties, through50-direct50), append(nineties, through99-direct99)
	}
	return median(fifties), median(nineties)
}

// latencies returns the 50th and 99th percentile of requests one after another.
func latencies(b *testing.B, p *process, n int, body string) (p50, p99 float64) {
	b.Helper()
	var all []float64
	for range n {
		began := time.Now()
		if err := ask(b.Context(), p.url, body); err != nil {
			b.Fatal(err)
		}
		all = append(all, float64(time.Since(began).Microseconds())/1000)
	}
	slices.Sort(all)
	return all[n/2], all[n*99/100]
}

// BenchmarkGateway measures the gateway against httputil.ReverseProxy with the same
// transport: authentication, ledger, metrics and log are on.
func BenchmarkGateway(b *testing.B) {
	for b.Loop() {
		program := buildGateway(b)
		up := startPart(b, "upstream")
		proxy, gw := startPart(b, "proxy:"+up.url), startGateway(b, program, up.url)
		proxy.forgiven.Store(100)
		b.ReportMetric(gw.settled(b)/1024, "idle-MB")
		small := benchBody(false, 1000, "")
		cpu, rate := compare(b, proxy, gw, 6000, small)
		b.ReportMetric(cpu, "cpu-1k-x")
		b.ReportMetric(rate, "rps-x")
		cpu, _ = compare(b, proxy, gw, 3000, benchBody(false, 32_000, ""))
		b.ReportMetric(cpu, "cpu-32k-x")
		cpu, _ = compare(b, proxy, gw, 1500, benchBody(true, 1000, ""))
		b.ReportMetric(cpu, "cpu-stream-x")
		p50, p99 := added(b, up, gw, small)
		b.ReportMetric(p50, "added-p50-ms")
		b.ReportMetric(p99, "added-p99-ms")
		b.ReportMetric(failover(b, gw), "failover-ms")
		up.kill()
		proxy.kill()
		gw.kill()
		b.ReportMetric(idleStreams(b, program), "stream-KB")
	}
	b.ReportMetric(0, "ns/op")
}

// failover is how much longer than the timeout a request takes whose first backend is
// silent: the worst of several.
func failover(b *testing.B, gw *process) float64 {
	b.Helper()
	worst := 0.0
	for i := range 2 * 2 { // the third failure in a row would leave the backend alone
		word := ""
		if i%2 == 0 {
			word = "please hang "
		}
		began := time.Now()
		if err := ask(b.Context(), gw.url, benchBody(i%4 == 0, 1000, word)); err != nil {
			b.Fatal(err)
		}
		if word != "" {
			worst = max(worst, float64((time.Since(began)-300*time.Millisecond).Microseconds())/1000)
		}
	}
	return worst
}

// idleStreams is the memory of a stream on which nothing happens, in KB.
func idleStreams(b *testing.B, program string) float64 {
	b.Helper()
	const streams = 4000
	up := startPart(b, "upstream")
	gw := startGateway(b, program, up.url)
	before := gw.settled(b)
	body := benchBody(true, 1000, "please idle ")
	transport := &http.Transport{}
	slots := make(chan struct{}, 64)
	var wait sync.WaitGroup
	for range streams {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, gw.url+"/v1/chat/completions", strings.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			r.Header.Set("Authorization", "Bearer "+clientKey)
			response, err := transport.RoundTrip(r)
			if err != nil {
				b.Error(err)
				return
			}
			if response.StatusCode != http.StatusOK {
				b.Errorf("status %d", response.StatusCode)
			}
		})
	}
	wait.Wait()
	return (gw.settled(b) - before) / streams
}
