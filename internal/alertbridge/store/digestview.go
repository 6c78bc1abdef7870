package store

import (
	"context"
	"fmt"
)

// DigestCount is how many groups of an alert a digest tells of, by their state.
type DigestCount struct {
	Name, Severity                      string
	Firing, Silenced, Unknown, Resolved int
	Subjects                            []string // of those that fire, the longest firing first
}

// DigestView is what a digest tells.
type DigestView struct {
	Counts []DigestCount // the most urgent first, then those that most groups fire of
	Worst  []DigestCount // subjects that most groups fire about, in Name; those with more than one only
}

// Bounds of what is read for one rendering.
const (
	subjectsPerAlert = 100
	worstSubjects    = 8
)

// DigestView counts what a digest tells of. It is not older than the revision of
// the digest that the caller has read before.
func (s *Store) DigestView(ctx context.Context, id string) (DigestView, error) {
	var v DigestView
	if err := s.countDigest(ctx, id, &v); err != nil {
		return v, fmt.Errorf("counting what a digest tells of: %w", err)
	}
	if err := s.listSubjects(ctx, id, &v); err != nil {
		return v, fmt.Errorf("listing what a digest is about: %w", err)
	}
	return v, nil
}

func (s *Store) countDigest(ctx context.Context, id string, v *DigestView) error {
	rows, err := s.db.Read().QueryContext(ctx, `
		SELECT c.alertname, c.severity,
			count(*) FILTER (WHERE c.state IN ('firing', 'settling')), count(*) FILTER (WHERE c.state = 'silenced'),
			count(*) FILTER (WHERE c.state = 'unknown'), count(*) FILTER (WHERE c.state = 'resolved')
		FROM legs l JOIN cards c ON c.id = l.card_id WHERE l.digest = ? GROUP BY c.alertname, c.severity
		ORDER BY min(c.rank), 3 DESC, c.alertname, c.severity`, id)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var n DigestCount
		if err := rows.Scan(&n.Name, &n.Severity, &n.Firing, &n.Silenced, &n.Unknown, &n.Resolved); err != nil {
			return err
		}
		v.Counts = append(v.Counts, n)
	}
	return rows.Err()
}

func (s *Store) listSubjects(ctx context.Context, id string, v *DigestView) error {
	rows, err := s.db.Read().QueryContext(ctx, `
		WITH told AS (
			SELECT c.alertname, c.severity, c.subject, c.rank, c.opened_at FROM legs l JOIN cards c ON c.id = l.card_id
			WHERE l.digest = ?1 AND c.state IN ('firing', 'settling') AND c.subject <> '')
		SELECT 0, alertname, severity, subject, 0 FROM (
			SELECT *, row_number() OVER (PARTITION BY alertname, severity ORDER BY opened_at, subject) AS place FROM told) WHERE place <= ?2
		UNION ALL
		SELECT * FROM (SELECT 1, '', '', subject, count(*) FROM told GROUP BY subject HAVING count(*) > 1 ORDER BY count(*) DESC, min(rank), subject LIMIT ?3)`,
		id, subjectsPerAlert, worstSubjects)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	place := map[[2]string]int{}
	for i, n := range v.Counts {
		place[[2]string{n.Name, n.Severity}] = i
	}
	for rows.Next() {
		var worst bool
		var name, severity, subject string
		var n int
		if err := rows.Scan(&worst, &name, &severity, &subject, &n); err != nil {
			return err
		}
		if worst {
			v.Worst = append(v.Worst, DigestCount{Name: subject, Firing: n})
			continue
		}
		// A card may have changed between the two reads.
		if i, ok := place[[2]string{name, severity}]; ok {
			v.Counts[i].Subjects = append(v.Counts[i].Subjects, subject)
		}
	}
	return rows.Err()
}
