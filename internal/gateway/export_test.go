package gateway

// Transport is how backends are called, for the reverse proxy that the benchmark
// compares with.
var Transport = transport
