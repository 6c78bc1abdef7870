package gateway

// Transport is how backends are called, for the reverse proxy that the benchmark
// compares with.
var Transport = transport

// Timezone is what is in force.
func (a *App) Timezone() string { return a.current.Load().zone.String() }
