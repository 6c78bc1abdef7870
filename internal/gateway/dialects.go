package gateway

import (
	"net/http"

	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect/anthropic"
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect/openai"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// every returns the endpoints of every dialect.
func every() []*dialect.Endpoint { return append(openai.Endpoints(), anthropic.Endpoints()...) }

// endpoints returns what the data plane serves, by path.
func endpoints() map[string]*dialect.Endpoint {
	out := map[string]*dialect.Endpoint{}
	for _, e := range every() {
		out["/v1"+e.Path] = e
	}
	return out
}

// authorizations returns how each dialect presents a backend's credential.
func authorizations() map[dialect.Name]func(http.Header, redact.Secret) {
	out := map[dialect.Name]func(http.Header, redact.Secret){}
	for _, e := range every() {
		out[e.Dialect] = e.Authorize
	}
	return out
}
