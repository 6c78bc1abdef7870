// Package llm holds what all parts of the gateway say about calls to models: the
// classes of failure, token usage, and prices.
//
// It promises that a failure has one class, and that the class alone decides
// whether another backend is tried, what becomes of the backend, and what people
// are told to do.
package llm

// Class says whose fault a failed attempt is. The empty class is no failure.
type Class string

// The classes.
const (
	RateLimit        Class = "rate_limit"
	Quota            Class = "quota"
	ServerError      Class = "server_error"
	ModelUnavailable Class = "model_unavailable"
	Auth             Class = "auth"
	Timeout          Class = "timeout"
	Connection       Class = "connection"
	ContentPolicy    Class = "content_policy"
	InvalidRequest   Class = "invalid_request"
	ClientCancelled  Class = "client_cancelled"
	Malformed        Class = "malformed"
)

// Classes lists every class.
func Classes() []Class {
	return []Class{RateLimit, Quota, ServerError, ModelUnavailable, Auth, Timeout, Connection, ContentPolicy, InvalidRequest, ClientCancelled, Malformed}
}

// MovesOn reports whether, before the first meaningful byte, another backend is
// tried. ContentPolicy moves on by configuration only.
func (c Class) MovesOn() bool {
	switch c {
	case RateLimit, Quota, ServerError, ModelUnavailable, Auth, Timeout, Connection, Malformed:
		return true
	case ContentPolicy, InvalidRequest, ClientCancelled:
		return false
	default:
		return false
	}
}

// Lasting reports whether the same request would fail in the same way a moment
// later: a client that tries again only adds load.
func (c Class) Lasting() bool {
	switch c {
	case Quota, ModelUnavailable, Auth, ContentPolicy, InvalidRequest:
		return true
	default:
		return false
	}
}

// Passing reports whether the failure is of the kind that any backend has now and then:
// only several in a row say something about it.
func (c Class) Passing() bool {
	switch c {
	case ServerError, Timeout, Connection, Malformed:
		return true
	default:
		return false
	}
}

// BlamesBackend reports whether the failure says something about the backend, rather
// than about the request or the client.
func (c Class) BlamesBackend() bool {
	switch c {
	case ContentPolicy, InvalidRequest, ClientCancelled:
		return false
	default:
		return c != ""
	}
}

// Remedy says what a person can do about failures of the class.
func (c Class) Remedy() string {
	switch c {
	case RateLimit:
		return "lower the rate on this key, raise its limit at the provider, or add a backend to the pool"
	case Quota:
		return "pay or raise the quota of this key at the provider, then reset the backend"
	case ServerError:
		return "the provider fails; wait, or disable the backend if it lasts"
	case ModelUnavailable:
		return "the provider does not offer the model on this key; correct native_id, or drop the model from the backend"
	case Auth:
		return "rotate the key of the backend; the provider refuses it"
	case Timeout:
		return "the provider is slow; raise routing.first_byte_timeout or the backend's timeout if that is usual"
	case Connection:
		return "check api_base_url, DNS, and the way to the provider"
	case ContentPolicy:
		return "the provider's content filter refused the prompt; change it, or route the model elsewhere"
	case InvalidRequest:
		return "the request itself is wrong; the provider's message says what"
	case ClientCancelled:
		return "the client went away; raise its timeout if that was not meant"
	case Malformed:
		return "the address answers, but not as a provider does; check api_base_url and api"
	default:
		return ""
	}
}
