// Package e2e proves the chain from a cause to the right card, through the real
// programs, a real Prometheus and a real Alertmanager, with the sandbox in
// Feishu's and the agents' place and every wait divided by thirty.
//
// The tests are behind the build tag e2e; `make e2e` runs them and writes
// docs/e2e-report.md.
package e2e
