// Package beat is the wire form of heartbeat's view of the fleet: the JSON of
// GET /api/agents and GET /api/agents/{id}, and a client that reads it.
//
// It promises nothing that heartbeat has not seen: a time that never happened
// is absent (not 1970, not 0), a source that could not be read says so, and a
// consumer that cannot reach heartbeat gets an error, never an old answer.
package beat
