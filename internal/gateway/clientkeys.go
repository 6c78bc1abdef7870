package gateway

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
	"github.com/fleetwatch/fleetwatch/internal/gateway/clientstore"
	"github.com/fleetwatch/fleetwatch/internal/gateway/limit"
)

const sourceAPI = "api"

// showClients returns the declared clients and those that the API made, sorted by name.
func (a *App) showClients() []admin.Client {
	built, now := a.current.Load(), a.now()
	all := make([]admin.Client, 0, len(built.terms))
	for _, x := range built.config.Clients.Declared {
		all = append(all, admin.Client{
			Name: x.Name, Source: sourceFile, Enabled: true, RPM: x.RPM, TPM: x.TPM, DailyBudget: x.DailyBudget, MonthlyBudget: x.MonthlyBudget,
			Models: append([]string{}, x.Models...), Force: append([]string{}, x.Force...), Expires: x.Expires,
		})
	}
	for _, x := range built.stored {
		if !built.declares(x.Name) {
			all = append(all, showStored(x))
		}
	}
	for i := range all {
		used := a.clients.get(all[i].Name)
		all[i].DailyRemaining, all[i].MonthlyRemaining = remaining(used, limit.Day, now), remaining(used, limit.Month, now)
	}
	slices.SortFunc(all, func(x, y admin.Client) int { return strings.Compare(x.Name, y.Name) })
	return all
}

func showStored(x clientstore.Client) admin.Client {
	out := admin.Client{
		Name: x.Name, Source: sourceAPI, Enabled: x.Enabled, RPM: x.RPM, TPM: x.TPM, DailyBudget: x.DailyBudget, MonthlyBudget: x.MonthlyBudget,
		Models: append([]string{}, x.Models...), Force: append([]string{}, x.Force...), CreatedAt: &x.CreatedAt, UpdatedAt: &x.UpdatedAt,
	}
	if !x.Expires.IsZero() {
		out.Expires = x.Expires.UTC().Format(time.RFC3339)
	}
	return out
}

// remaining is the share of a budget that is left, nil without one.
func remaining(used *limit.Client, p limit.Period, now time.Time) *float64 {
	left, ok := used.Remaining(p, now)
	if !ok {
		return nil
	}
	return &left
}

// changeClient makes a change durable and puts it into force: both, or none. Requests
// under way end with the settings they began with.
func (a *App) changeClient(ctx context.Context, edit admin.ClientEdit) error {
	a.applying.Lock()
	defer a.applying.Unlock()
	before := a.current.Load()
	if before.declares(edit.Name) {
		return admin.ErrDeclared
	}
	stored := slices.Clone(before.stored)
	i := slices.IndexFunc(stored, func(x clientstore.Client) bool { return x.Name == edit.Name })
	now := a.now()
	var write func() error
	switch {
	case edit.Kind == admin.Create && i >= 0:
		return clientstore.ErrExists
	case edit.Kind == admin.Create:
		made := clientstore.Client{Name: edit.Name, Sum: edit.Sum, Settings: clientstore.Settings{Enabled: true}, CreatedAt: stamp(now), UpdatedAt: stamp(now)}
		edit.Change(&made.Settings)
		stored = append(stored, made)
		write = func() error { return clientstore.Insert(ctx, a.ledger.Store(), made, edit.Entry) }
	case i < 0:
		return clientstore.ErrNotFound
	case edit.Kind == admin.Delete:
		stored = slices.Delete(stored, i, i+1)
		write = func() error { return clientstore.Delete(ctx, a.ledger.Store(), edit.Name, edit.Entry) }
	default:
		changed := stored[i]
		changed.UpdatedAt = stamp(now)
		edit.Change(&changed.Settings)
		stored[i] = changed
		write = func() error { return clientstore.Update(ctx, a.ledger.Store(), changed, edit.Entry) }
	}
	built, err := assemble(before.config, stored, a.states.get, a.clients.get)
	if err != nil {
		return err
	}
	spent, err := a.spentBefore(ctx, built)
	if err != nil {
		return err
	}
	if err := write(); err != nil {
		return err
	}
	a.apply(built, spent)
	return nil
}

// stamp is the moment as the store keeps it.
func stamp(at time.Time) time.Time { return at.UTC().Truncate(time.Millisecond) }
