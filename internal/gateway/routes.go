package gateway

import (
	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
	"github.com/fleetwatch/fleetwatch/internal/gateway/console"
)

// operations adds what people and scripts ask the operations listener for.
func (a *App) operations(c *Config) (err error) {
	api := &admin.Handler{View: a.view, Ledger: a.ledger, Backups: a.backups, Clients: a.showClients, ChangeClient: a.changeClient, Log: a.log, Now: a.now}
	api.Routes(a.server.Router(), a.server.RequireRead, a.server.RequireAdmin)
	a.console, err = console.New(console.Options{
		API: api, Zone: a.current.Load().zone, Admin: c.Admin.Token, Read: c.Admin.ReadToken, Draining: a.server.Draining(), Log: a.log,
	})
	if err != nil {
		return err
	}
	a.console.Routes(a.server.Router())
	return nil
}

func (a *App) view() admin.View {
	c := a.current.Load()
	return admin.View{Backends: c.backends, Table: c.plan.Table, Currency: c.config.Currency}
}
