package llm

// Failure is an error that a client is told; each dialect has its own form for it.
type Failure struct {
	Status  int    // HTTP status
	Code    string // ours, snake_case; "" = none
	Param   string // the key or header at fault; "" = none
	Message string
}

// Answer is what a whole answer, or the frames of a stream so far, say beside their
// content.
type Answer struct {
	Usage Usage
	// ID is the id by which a later request can go on from this answer; "" = none.
	ID string
}
