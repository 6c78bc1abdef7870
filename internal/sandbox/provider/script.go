package provider

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// aim says which requests a line of a script meets.
type aim struct {
	backend, path, model, contains string // empty meets all
	skip, times                    *int   // the line's own, counted down
	seconds                        float64
	until                          *time.Time
}

func (a aim) meets(path string, r *request) bool {
	return (a.backend == "" || a.backend == r.backend) && (a.model == "" || a.model == r.Model) && strings.Contains(string(r.body), a.contains) &&
		(a.path == path || a.path == "" && path != modelsPath)
}

// script is what is to come: of its lines, in the order in which they were added, a
// request meets at most one.
type script[T any] struct {
	aim func(*T) aim

	mu    sync.Mutex
	lines []*T
}

func (s *script[T]) add(line T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.aim(&line); a.seconds > 0 {
		*a.until = time.Now().Add(time.Duration(a.seconds * float64(time.Second)))
	}
	s.lines = append(s.lines, &line)
}

// clear forgets the lines of a backend, or all where it is empty.
func (s *script[T]) clear(backend string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = slices.DeleteFunc(s.lines, func(l *T) bool { return backend == "" || s.aim(l).backend == backend })
}

func (s *script[T]) list() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	out := []T{}
	for _, l := range s.lines {
		out = append(out, *l)
	}
	return out
}

func (s *script[T]) expire() {
	now := time.Now()
	s.lines = slices.DeleteFunc(s.lines, func(l *T) bool {
		until := s.aim(l).until
		return !until.IsZero() && !now.Before(*until)
	})
}

// take returns the line that a request meets, or the zero T.
func (s *script[T]) take(path string, r *request) T {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	for i, l := range s.lines {
		a := s.aim(l)
		if !a.meets(path, r) {
			continue
		}
		if *a.skip > 0 {
			*a.skip--
			continue
		}
		hit := *l
		if *a.times > 0 {
			if *a.times--; *a.times == 0 {
				s.lines = slices.Delete(s.lines, i, i+1)
			}
		}
		return hit
	}
	var none T
	return none
}
