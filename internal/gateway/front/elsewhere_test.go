package front

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestElsewhere: the console is where the operations listener is; one that takes all
// addresses is where the client has found the data plane.
func TestElsewhere(t *testing.T) {
	for _, c := range []struct{ operations, host, path, want string }{
		{"127.0.0.1:9191", "gateway.example:9190", "/dashboard", "http://127.0.0.1:9191/dashboard"},
		{"ops.example:9191", "gateway.example", "/dashboard/usage?by=day", "http://ops.example:9191/dashboard/usage?by=day"},
		{"0.0.0.0:9191", "gateway.example:9190", "/dashboard", "http://gateway.example:9191/dashboard"},
		{"[::]:9191", "[::1]:9190", "/dashboard", "http://[::1]:9191/dashboard"},
		{":9191", "10.0.0.7", "/dashboard", "http://10.0.0.7:9191/dashboard"},
	} {
		rec, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, c.path, nil)
		r.Host = c.host
		(&exchange{Handler: &Handler{Operations: func() string { return c.operations }}, w: rec, r: r}).elsewhere()
		if got := rec.Header().Get("Location"); rec.Code != http.StatusFound || got != c.want {
			t.Errorf("%+v: %d to %q", c, rec.Code, got)
		}
	}
}
