package client

import (
	"fmt"
	"regexp"
	"time"
)

// Budgets are 0 (none) or in these bounds, in units of the currency.
const (
	minBudget = 1e-6
	maxBudget = 1e9 // beyond it Nano overflows
)

var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// CheckName says what a client's name must look like, nil where it does.
func CheckName(text string) error {
	switch {
	case !name.MatchString(text):
		return fmt.Errorf("expected letters, digits, dots, - and _, got %q", text)
	case text == Anonymous:
		return fmt.Errorf("%q is what clients without a key are called", text)
	default:
		return nil
	}
}

// CheckBudget says what a budget may be, nil where it is that.
func CheckBudget(units float64) error {
	if units == 0 || units >= minBudget && units <= maxBudget {
		return nil
	}
	return fmt.Errorf("expected 0 (no limit), or %g to %g, got %g", minBudget, maxBudget, units)
}

// Expiry reads a moment, or a date, at whose end the key ends; "" is never, the zero
// time.
func Expiry(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	if at, err := time.Parse(time.DateOnly, text); err == nil {
		return at.AddDate(0, 0, 1), nil
	}
	return time.Time{}, fmt.Errorf("expected a date like 2027-12-31 or a time like 2027-12-31T10:00:00Z, got %q", text)
}
