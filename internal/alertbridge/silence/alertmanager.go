package silence

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-openapi/strfmt"
	"github.com/prometheus/alertmanager/api/v2/client"
	"github.com/prometheus/alertmanager/api/v2/client/silence"
	"github.com/prometheus/alertmanager/api/v2/models"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/amapi"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// alertmanager makes and ends silences, through Alertmanager's own API client.
type alertmanager struct {
	api     *client.AlertmanagerAPI
	timeout time.Duration
}

func newAlertmanager(address string, timeout time.Duration) (*alertmanager, error) {
	api, err := amapi.New(address, timeout)
	if err != nil {
		return nil, err
	}
	return &alertmanager{api: api, timeout: timeout}, nil
}

// refusal is an answer that the same request would get again.
type refusal struct{ reason string }

func (r *refusal) Error() string { return "Alertmanager refused it: " + r.reason }

// mark ends the comment of a hold's silence. Ids are ULIDs, so that no text of an
// alert contains one by chance, and only the very end of a comment counts.
func mark(hold string, part int) string {
	return "[fleetwatch " + hold + "/" + strconv.Itoa(part+1) + "]"
}

// find returns the silences of a hold that Alertmanager has, ended ones included,
// by their part.
func (a *alertmanager) find(ctx context.Context, hold string) (map[int]string, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	all, err := a.api.Silence.GetSilences(silence.NewGetSilencesParamsWithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("asking Alertmanager for its silences: %w", redact.Error(err))
	}
	known := map[int]string{}
	for _, s := range all.Payload {
		if s.ID == nil || s.Comment == nil {
			continue
		}
		_, rest, ok := strings.Cut(*s.Comment, "[fleetwatch "+hold+"/")
		number, _, whole := strings.Cut(rest, "]")
		if part, err := strconv.Atoi(number); ok && whole && err == nil && strings.HasSuffix(*s.Comment, mark(hold, part-1)) {
			known[part-1] = *s.ID
		}
	}
	return known, nil
}

// make makes the silences of the hold that are not known yet and returns the ids
// of all, in order; on an error, those that there are.
func (a *alertmanager) make(ctx context.Context, h *card.Hold, known map[int]string, now time.Time, comment string) ([]string, error) {
	var out []string
	for i, part := range h.Parts {
		id := known[i]
		if id == "" {
			var err error
			if id, err = a.post(ctx, h, part, now, comment+" "+mark(h.ID, i)); err != nil {
				return out, err
			}
		}
		out = append(out, id)
	}
	return out, nil
}

func (a *alertmanager) post(ctx context.Context, h *card.Hold, part card.Part, now time.Time, comment string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	starts, ends := strfmt.DateTime(now), strfmt.DateTime(h.Until)
	equal, pattern := true, false
	var matchers models.Matchers
	for _, name := range slices.Sorted(maps.Keys(part.Matchers)) {
		value := part.Matchers[name]
		matchers = append(matchers, &models.Matcher{Name: &name, Value: &value, IsEqual: &equal, IsRegex: &pattern})
	}
	params := silence.NewPostSilencesParamsWithContext(ctx).WithSilence(&models.PostableSilence{Silence: models.Silence{
		Matchers: matchers, StartsAt: &starts, EndsAt: &ends, CreatedBy: &h.By, Comment: &comment,
	}})
	made, err := a.api.Silence.PostSilences(params)
	var bad *silence.PostSilencesBadRequest
	switch {
	case errors.As(err, &bad):
		return "", &refusal{reason: bad.Payload}
	case err != nil:
		return "", fmt.Errorf("making a silence: %w", redact.Error(err))
	case made.Payload == nil || made.Payload.SilenceID == "":
		return "", errors.New("making a silence: Alertmanager answered without an id")
	}
	return made.Payload.SilenceID, nil
}

// expire ends silences. One that Alertmanager does not know is over already.
func (a *alertmanager) expire(ctx context.Context, ids []string) error {
	for _, id := range ids {
		if err := a.expireOne(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (a *alertmanager) expireOne(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	_, err := a.api.Silence.DeleteSilence(silence.NewDeleteSilenceParamsWithContext(ctx).WithSilenceID(strfmt.UUID(id)))
	var unknown *silence.DeleteSilenceNotFound
	if err != nil && !errors.As(err, &unknown) {
		return fmt.Errorf("ending a silence: %w", redact.Error(err))
	}
	return nil
}
