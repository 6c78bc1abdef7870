package gateway

import "github.com/gorilla/mux"

// Transport is how backends are called, for the reverse proxy that the benchmark
// compares with.
var Transport = transport

// Timezone is what is in force.
func (a *App) Timezone() string { return a.current.Load().zone.String() }

// Routes are the paths of the operations listener, with their methods.
func (a *App) Routes(visit func(method, path string)) error {
	return a.server.Router().Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		path, err := route.GetPathTemplate()
		if err != nil {
			return err
		}
		methods, err := route.GetMethods()
		for _, method := range methods {
			visit(method, path)
		}
		return err
	})
}
