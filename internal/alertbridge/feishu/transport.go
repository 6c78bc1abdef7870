package feishu

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// exchange notes what the SDK does not pass on: the status and headers of an
// answer that is not JSON, and whether a connection was made at all.
type exchange struct {
	connected atomic.Bool
	status    atomic.Int64
	header    atomic.Pointer[http.Header]
}

type exchangeKey struct{}

func withExchange(ctx context.Context) (context.Context, *exchange) {
	e := &exchange{}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { e.connected.Store(true) }})
	return context.WithValue(ctx, exchangeKey{}, e), e
}

// noting is an HTTP client that fills the exchange of its request's context. It
// implements the SDK's larkcore.HttpClient.
type noting struct{ client *http.Client }

func (n noting) Do(r *http.Request) (*http.Response, error) {
	response, err := n.client.Do(r)
	if e, ok := r.Context().Value(exchangeKey{}).(*exchange); ok && err == nil {
		e.status.Store(int64(response.StatusCode))
		e.header.Store(&response.Header)
	}
	return response, err
}

// newHTTPClient makes a client whose calls end within the timeout; transport nil is
// the network.
func newHTTPClient(timeout time.Duration, transport http.RoundTripper) *http.Client {
	if transport == nil {
		transport = network(timeout)
	}
	return &http.Client{
		Timeout: timeout, Transport: transport,
		// A redirect of a POST would be followed as a GET.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func network(timeout time.Duration) *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
		MaxIdleConns: 32, MaxIdleConnsPerHost: 32, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: timeout, ResponseHeaderTimeout: timeout,
	}
}
