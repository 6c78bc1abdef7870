// Package alerting holds the gate tests over the files in alerting/ that
// Prometheus and Alertmanager read. They promise that
//
//   - the pinned tools accept every file, and every rule test passes;
//   - each alert says what a person needs (severity, summary, description, value,
//     runbook, panel to look at, next action), gives the reason of each wait, and has a rule test in
//     which it fires and one in which it does not;
//   - each alert goes to the receiver that it must reach, and is held back by
//     another alert of the same subject only;
//   - every metric and label that a rule or a dashboard names is exposed by the
//     programs, and docs/metrics.md lists all that they expose.
package alerting
