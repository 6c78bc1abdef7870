package worklist

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/preflight"
	"github.com/fleetwatch/fleetwatch/internal/tasksource"
)

// Store keeps records.
type Store interface {
	Tasks(ctx context.Context) ([]Record, error)
	SaveTasks(ctx context.Context, keep, forget []Record) error
}

// Survey reads task sources.
type Survey interface {
	Read(ctx context.Context, agent fleet.Agent, fresh bool) preflight.Reading
}

// ErrUnknownTask says that nothing is remembered of a task.
var ErrUnknownTask = errors.New("no such task")

// forgetAfter is how long a task is remembered that its source no longer tells of:
// a file that is being replaced must not give it new rounds.
const forgetAfter = 7 * 24 * time.Hour

// Task is an open task with what is remembered of it.
type Task struct {
	tasksource.Task
	Record Record
}

// Picture is what is known of an agent's tasks. It is immutable.
type Picture struct {
	Sources []beat.Source
	Tasks   []Task // open ones of the sources that are ok, by urgency
}

// Tracker remembers. Its methods may be called from any goroutine; what concerns
// one agent happens one after the other.
type Tracker struct {
	store  Store
	survey Survey
	now    func() time.Time

	mu    sync.Mutex
	pages map[string]*page
}

type page struct {
	looking sync.Mutex // held over a read: of two, the one remembered last is the newer
	mu      sync.Mutex // held over a change and its commit, never over a read
	records map[recordKey]Record
	picture *Picture // nil = not read yet
}

type recordKey struct{ source, id string }

// Open returns a tracker that goes on from what the store holds.
func Open(ctx context.Context, store Store, survey Survey, now func() time.Time) (*Tracker, error) {
	t := &Tracker{store: store, survey: survey, now: now, pages: map[string]*page{}}
	records, err := store.Tasks(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		t.page(r.Agent).records[recordKey{r.Source, r.ID}] = r
	}
	return t, nil
}

func (t *Tracker) page(agent string) *page {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pages[agent]
	if p == nil {
		p = &page{records: map[recordKey]Record{}}
		t.pages[agent] = p
	}
	return p
}

// Picture returns what was last read. It does not wait for a source.
func (t *Tracker) Picture(agent fleet.Agent) Picture {
	p := t.page(agent.ID)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.picture == nil || !names(p.picture.Sources, agent.Sources.Names()) {
		return Picture{Sources: preflight.Unread(agent).Sources}
	}
	return *p.picture
}

// names reports whether the sources are those: after a change of the roster an
// old picture tells of others.
func names(sources []beat.Source, want []string) bool {
	return slices.EqualFunc(sources, want, func(s beat.Source, name string) bool { return s.Name == name })
}

// Look reads the agent's sources, now where fresh is true, and remembers what made
// progress. changed reports whether the picture differs from the one before.
func (t *Tracker) Look(ctx context.Context, agent fleet.Agent, fresh bool) (picture Picture, changed bool, err error) {
	if len(agent.Sources.Names()) == 0 {
		return Picture{}, false, nil
	}
	p := t.page(agent.ID)
	p.looking.Lock()
	defer p.looking.Unlock()
	reading := t.survey.Read(ctx, agent, fresh)
	p.mu.Lock()
	defer p.mu.Unlock()
	var keep, forget []Record
	for _, task := range reading.Tasks {
		key := recordKey{task.Source, task.ID}
		before, known := p.records[key]
		if task.State == tasksource.Done {
			if known {
				forget = append(forget, before)
			}
			continue
		}
		before.Agent, before.Source, before.ID = agent.ID, task.Source, task.ID
		if after := before.Seen(task, t.now().UTC()); after != before {
			keep = append(keep, after)
		}
	}
	forget = append(forget, p.old(reading, t.now())...)
	err = t.commit(ctx, p, keep, forget)
	drawn := p.draw(reading)
	if err != nil {
		drawn = unremembered(reading)
	}
	changed = p.picture == nil || !same(*p.picture, drawn)
	p.picture = &drawn
	return drawn, changed, err
}

// unremembered is the picture where the record could not be written: what its
// progress and rounds are is not known.
func unremembered(reading preflight.Reading) Picture {
	out := Picture{Sources: slices.Clone(reading.Sources)}
	for i := range out.Sources {
		out.Sources[i].State, out.Sources[i].Detail = beat.SourceUnknown, "heartbeat's record could not be written"
	}
	return out
}

// commit makes changes durable, then visible; the caller holds the page.
func (t *Tracker) commit(ctx context.Context, p *page, keep, forget []Record) error {
	if len(keep)+len(forget) == 0 {
		return nil
	}
	if err := t.store.SaveTasks(context.WithoutCancel(ctx), keep, forget); err != nil {
		return err
	}
	for _, r := range keep {
		p.records[recordKey{r.Source, r.ID}] = r
	}
	for _, r := range forget {
		delete(p.records, recordKey{r.Source, r.ID})
	}
	return nil
}

// old returns the records that sources which are ok have not told of for long.
func (p *page) old(reading preflight.Reading, now time.Time) []Record {
	ok, told := map[string]bool{}, map[recordKey]bool{}
	for _, s := range reading.Sources {
		ok[s.Name] = s.State == beat.SourceOK
	}
	for _, task := range reading.Tasks {
		told[recordKey{task.Source, task.ID}] = true
	}
	var out []Record
	for key, r := range p.records {
		if ok[key.source] && !told[key] && now.Sub(r.SeenAt) > forgetAfter {
			out = append(out, r)
		}
	}
	return out
}

// draw puts a reading and the records together.
func (p *page) draw(reading preflight.Reading) Picture {
	tasks := slices.DeleteFunc(slices.Clone(reading.Tasks), func(task tasksource.Task) bool { return task.State == tasksource.Done })
	tasksource.Order(tasks)
	out := Picture{Sources: reading.Sources, Tasks: make([]Task, 0, len(tasks))}
	for _, task := range tasks {
		out.Tasks = append(out.Tasks, Task{task, p.records[recordKey{task.Source, task.ID}]})
	}
	return out
}

// redraw takes changed records into the picture; the caller holds the page.
func (p *page) redraw() {
	if p.picture == nil {
		return
	}
	next := Picture{Sources: p.picture.Sources, Tasks: slices.Clone(p.picture.Tasks)}
	for i, task := range next.Tasks {
		next.Tasks[i].Record = p.records[recordKey{task.Source, task.ID}]
	}
	p.picture = &next
}

// same compares what people see; the time of the last success alone is no change.
func same(a, b Picture) bool {
	return slices.EqualFunc(a.Sources, b.Sources, func(x, y beat.Source) bool {
		return x.Name == y.Name && x.State == y.State && x.Detail == y.Detail
	}) && slices.EqualFunc(a.Tasks, b.Tasks, func(x, y Task) bool {
		return x.Record == y.Record && x.Title == y.Title && x.State == y.State && x.Parked == y.Parked && x.Cycle == y.Cycle && slices.Equal(x.BlockedBy, y.BlockedBy)
	})
}

// Beat reads the agent's sources and accounts for one beat: tasks that are stuck
// become suspected, those that were already, confirmed. It returns what there is
// to do.
func (t *Tracker) Beat(ctx context.Context, agent fleet.Agent) (Agenda, error) {
	if _, _, err := t.Look(ctx, agent, false); err != nil {
		return Agenda{}, fmt.Errorf("remembering the tasks of %s: %w", agent.ID, err)
	}
	err := t.change(ctx, agent.ID, func(task Task) (Record, bool) {
		return task.Record.Beaten(agent.TaskTimeout, t.now()), true
	})
	if err != nil {
		return Agenda{}, fmt.Errorf("remembering the tasks of %s: %w", agent.ID, err)
	}
	return agendaOf(t.Picture(agent), agent.MaxRounds), nil
}

// Spend accounts for a call that names the tasks of the agenda, before it is made:
// a round of each, and the recovery of those that are due. It returns the agenda
// without what was paused meanwhile.
func (t *Tracker) Spend(ctx context.Context, agent fleet.Agent, agenda Agenda) (Agenda, error) {
	named := map[recordKey]bool{}
	for _, task := range agenda.Now {
		named[recordKey{task.Source, task.ID}] = true
	}
	spent := map[recordKey]Record{}
	err := t.change(ctx, agent.ID, func(task Task) (Record, bool) {
		key := recordKey{task.Source, task.ID}
		if !named[key] || task.Record.Paused(agent.MaxRounds) {
			return task.Record, false
		}
		r := task.Record.Spent(agent.MaxRounds, t.now().UTC())
		if agenda.Recovery && r.Stall == Confirmed {
			r.Stall = Recovering
		}
		spent[key] = r
		return r, true
	})
	if err != nil {
		return Agenda{}, fmt.Errorf("accounting for a call of %s: %w", agent.ID, err)
	}
	var now []Task
	for _, task := range agenda.Now {
		if r, ok := spent[recordKey{task.Source, task.ID}]; ok {
			now = append(now, Task{task.Task, r})
		}
	}
	agenda.Now = now
	return agenda, nil
}

// Started accounts for a run that an agent which beats by itself says it began: a
// round of every task that it has in progress.
func (t *Tracker) Started(ctx context.Context, agent fleet.Agent) error {
	return t.change(ctx, agent.ID, func(task Task) (Record, bool) {
		if task.State != tasksource.InProgress || task.Record.Paused(agent.MaxRounds) {
			return task.Record, false
		}
		return task.Record.Spent(agent.MaxRounds, t.now().UTC()), true
	})
}

// Pause leaves a task out of agendas; Release takes it in again, with its rounds
// at 0. Both change the tasks with that id in every source and return
// ErrUnknownTask where there is none.
func (t *Tracker) Pause(ctx context.Context, agent fleet.Agent, id string) error {
	return t.byID(ctx, agent, id, func(r Record) Record {
		if r.PausedAt.IsZero() {
			r.PausedAt = t.now().UTC()
		}
		return r
	})
}

// Release undoes a pause, whether a person or the round limit made it.
func (t *Tracker) Release(ctx context.Context, agent fleet.Agent, id string) error {
	return t.byID(ctx, agent, id, func(r Record) Record {
		r.PausedAt, r.Rounds = time.Time{}, 0
		return r
	})
}

func (t *Tracker) byID(ctx context.Context, agent fleet.Agent, id string, change func(Record) Record) error {
	p := t.page(agent.ID)
	p.mu.Lock()
	defer p.mu.Unlock()
	var keep []Record
	for key, r := range p.records {
		if key.id == id {
			keep = append(keep, change(r))
		}
	}
	if len(keep) == 0 {
		return ErrUnknownTask
	}
	if err := t.commit(ctx, p, keep, nil); err != nil {
		return err
	}
	p.redraw()
	return nil
}

// change changes records of tasks in the picture, all or none.
func (t *Tracker) change(ctx context.Context, agent string, change func(Task) (Record, bool)) error {
	p := t.page(agent)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.picture == nil {
		return nil
	}
	var keep []Record
	for _, task := range p.picture.Tasks {
		if after, changed := change(task); changed && after != task.Record {
			keep = append(keep, after)
		}
	}
	if err := t.commit(ctx, p, keep, nil); err != nil {
		return err
	}
	p.redraw()
	return nil
}
