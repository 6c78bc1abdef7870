package admin

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
)

// The parameters of statistics.
const (
	byBackend = "backend_id"
	byModel   = "model"
	byClient  = "client"
	inHours   = "hours"
	inDays    = "days"
	since     = "since"
	until     = "until"
	limited   = "limit"
	after     = "after"
)

const (
	defaultHours = 168
	defaultDays  = 30
	maxDays      = 10 * 366
	day          = 24 * time.Hour
)

// statistic says what an endpoint takes.
type statistic struct {
	filters []string // beside the time and the limit, which all take
	paged   bool
	daily   bool // days count where both or neither are given; else hours do
}

func (s *statistic) parameters() []string {
	all := append([]string{inHours, inDays, since, until, limited}, s.filters...)
	if s.paged {
		all = append(all, after)
	}
	slices.Sort(all)
	return all
}

// window reads the query, all of which is checked.
func (s *statistic) window(q url.Values, now time.Time) (w ledger.Window, err error) {
	if err := strict(q, s.parameters()); err != nil {
		return w, err
	}
	w = ledger.Window{Backend: q.Get(byBackend), Model: q.Get(byModel), Client: q.Get(byClient)}
	if w.Limit, err = number(q, limited, defaultLimit, maxLimit); err != nil {
		return w, err
	}
	span, err := s.span(q)
	if err != nil {
		return w, err
	}
	if w.Since, err = moment(q, since); err != nil {
		return w, err
	}
	if w.Until, err = moment(q, until); err != nil {
		return w, err
	}
	switch {
	case !w.Since.IsZero() && (q.Has(inHours) || q.Has(inDays)):
		return w, errors.New("since: give either the beginning, or hours or days")
	case w.Since.IsZero() && w.Until.IsZero():
		w.Since = now.Add(-span)
	case w.Since.IsZero():
		w.Since = w.Until.Add(-span)
	case !w.Until.IsZero() && !w.Until.After(w.Since):
		return w, errors.New("until: expected a time after since")
	}
	return w, nil
}

// span is how long the window is where it has no beginning.
func (s *statistic) span(q url.Values) (time.Duration, error) {
	hours, err := number(q, inHours, defaultHours, maxDays*24)
	if err != nil {
		return 0, err
	}
	days, err := number(q, inDays, defaultDays, maxDays)
	if err != nil {
		return 0, err
	}
	useDays := q.Has(inDays)
	if useDays == q.Has(inHours) {
		useDays = s.daily
	}
	if useDays {
		return time.Duration(days) * day, nil
	}
	return time.Duration(hours) * time.Hour, nil
}

// strict refuses parameters that are not known, or given more than once.
func strict(q url.Values, known []string) error {
	for _, name := range slices.Sorted(maps.Keys(q)) {
		switch {
		case slices.Contains(known, name) && len(q[name]) > 1:
			return fmt.Errorf("%s: given %d times", name, len(q[name]))
		case !slices.Contains(known, name) && len(known) == 0:
			return fmt.Errorf("%s: no such parameter here, there are none", name)
		case !slices.Contains(known, name):
			return fmt.Errorf("%s: no such parameter here, expected %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

func number(q url.Values, name string, otherwise, most int) (int, error) {
	if !q.Has(name) {
		return otherwise, nil
	}
	n, err := strconv.Atoi(q.Get(name))
	if err != nil || n < 1 || n > most {
		return 0, fmt.Errorf("%s: expected 1 to %d, got %q", name, most, q.Get(name))
	}
	return n, nil
}

// Years that times of requests are in; far beyond them numbers overflow.
const earliest, latest = 1970, 2200

func moment(q url.Values, name string) (time.Time, error) {
	if !q.Has(name) {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, q.Get(name))
	if err != nil || at.Year() < earliest || at.Year() > latest {
		return at, fmt.Errorf("%s: expected a time like 2026-11-22T10:00:00Z, got %q", name, q.Get(name))
	}
	return at, nil
}

// mark reads where a page begins, into the key of the line before; nothing is read
// where the query does not say it.
func mark[T any](q url.Values) (*T, error) {
	if !q.Has(after) {
		return nil, nil //nolint:nilnil // from the beginning, which is no error
	}
	key := new(T)
	raw, err := base64.RawURLEncoding.DecodeString(q.Get(after))
	if err == nil {
		err = json.Unmarshal(raw, key)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: not the mark of a page; follow the Link header", after)
	}
	return key, nil
}

// following is the query of the next page, which begins behind key. It says the times of
// the window, so that they are the same however late it is asked for.
func following(query url.Values, window ledger.Window, key any) (url.Values, error) {
	raw, err := json.Marshal(key)
	if err != nil {
		return nil, fmt.Errorf("marking the next page: %w", err)
	}
	q := maps.Clone(query)
	q.Del(inHours)
	q.Del(inDays)
	q.Set(since, window.Since.UTC().Format(time.RFC3339Nano))
	if !window.Until.IsZero() {
		q.Set(until, window.Until.UTC().Format(time.RFC3339Nano))
	}
	q.Set(after, base64.RawURLEncoding.EncodeToString(raw))
	return q, nil
}
