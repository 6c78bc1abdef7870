// Package client knows who may call: the holders of client keys.
//
// Keys are kept as SHA-256 sums only and compared in constant time; no error and no
// log ever holds what was presented.
package client

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/limit"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// Anonymous is the client of requests without a key, where none is required.
const Anonymous = "anonymous"

// Client is the holder of a key.
type Client struct {
	Name    string
	Models  []string // that it may use; none = all
	Demands []string // capabilities that every backend of its requests must have
	Limits  *limit.Client
	Expires time.Time // zero = never

	sum [sha256.Size]byte
}

// May reports whether the client may use the model.
func (c *Client) May(model string) bool {
	return len(c.Models) == 0 || slices.Contains(c.Models, model)
}

// Registry finds clients by key. It is read only.
type Registry struct {
	byKey     map[[sha256.Size]byte]*Client
	anonymous *Client // nil where a key is required
}

// NewRegistry returns an empty registry. open lets requests without a key in.
func NewRegistry(open bool) *Registry {
	r := &Registry{byKey: map[[sha256.Size]byte]*Client{}}
	if open {
		r.anonymous = &Client{Name: Anonymous, Limits: &limit.Client{}}
		r.anonymous.Limits.Configure(limit.Terms{Zone: time.UTC})
	}
	return r
}

// Add adds a client. It reports false where another has the same key.
func (r *Registry) Add(c Client, key redact.Secret) bool {
	return key.IsSet() && r.AddSum(c, sha256.Sum256([]byte(key.Reveal())))
}

// AddSum adds a client of whose key there is the SHA-256 sum only. It reports false
// where another has the same key.
func (r *Registry) AddSum(c Client, sum [sha256.Size]byte) bool {
	if _, taken := r.byKey[sum]; taken {
		return false
	}
	c.sum = sum
	r.byKey[sum] = &c
	return true
}

// All returns the clients, sorted by name.
func (r *Registry) All() []*Client {
	var all []*Client
	for _, c := range r.byKey {
		all = append(all, c)
	}
	if r.anonymous != nil {
		all = append(all, r.anonymous)
	}
	slices.SortFunc(all, func(a, b *Client) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Names returns the names of the clients, sorted.
func (r *Registry) Names() []string {
	var names []string
	for _, c := range r.All() {
		names = append(names, c.Name)
	}
	return names
}

// Find returns who sent the headers: by Authorization: Bearer, or by x-api-key. It is
// nil where the key is unknown or expired, or where there is none and one is required.
func (r *Registry) Find(h http.Header, now time.Time) *Client {
	presented := presentedKey(h)
	if presented == "" {
		return r.anonymous
	}
	sum := sha256.Sum256([]byte(presented))
	c, ok := r.byKey[sum]
	if !ok || subtle.ConstantTimeCompare(c.sum[:], sum[:]) != 1 || !c.Expires.IsZero() && !now.Before(c.Expires) {
		// With keys not required, clients still send one: SDKs refuse to send none.
		return r.anonymous
	}
	return c
}

func presentedKey(h http.Header) string {
	if kind, key, ok := strings.Cut(h.Get("Authorization"), " "); ok && strings.EqualFold(kind, "bearer") {
		return strings.TrimSpace(key)
	}
	return h.Get("X-Api-Key")
}
