package feishu

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// ClockSkew is how far this machine's clock is ahead of the server's at baseURL,
// by the Date header of an answer.
func ClockSkew(ctx context.Context, baseURL string, timeout time.Duration) (time.Duration, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, baseURL, nil)
	if err != nil {
		return 0, fmt.Errorf("asking for the time: %w", err)
	}
	response, err := newHTTPClient(timeout, nil).Do(request)
	if err != nil {
		return 0, fmt.Errorf("asking for the time: %w", redact.Error(err))
	}
	defer func() { _ = response.Body.Close() }()
	date, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return 0, fmt.Errorf("reading the time that %s gives: %w", redact.Host(baseURL), err)
	}
	return time.Since(date), nil
}
