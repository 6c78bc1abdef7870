package admin

import (
	"context"
	"errors"
	"net/http"

	"github.com/fleetwatch/fleetwatch/internal/gateway/audit"
	"github.com/fleetwatch/fleetwatch/internal/gateway/backup"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
)

// makeBackup makes a backup now. A client that leaves does not end it: half of the way
// is behind it, and the next one would begin anew.
func (h *Handler) makeBackup(w http.ResponseWriter, r *http.Request) {
	made, err := h.Backups.Make(context.WithoutCancel(r.Context()))
	switch {
	case errors.Is(err, backup.ErrBusy):
		httpserve.WriteError(w, r, http.StatusConflict, "backup_running", "a backup is being made; ask again for the list when it is done")
	case err != nil:
		h.Log.ErrorContext(r.Context(), "backup failed", "error", err)
		httpserve.WriteError(w, r, http.StatusInternalServerError, "backup_failed", err.Error())
	default:
		h.Log.InfoContext(r.Context(), "backup made", "file", made.Name, "bytes", made.SizeBytes)
		if err := audit.Record(context.WithoutCancel(r.Context()), h.Ledger.Store(), h.entry(r, audit.MakeBackup, made.Name, "")); err != nil {
			h.Log.ErrorContext(r.Context(), "the audit trail lacks a backup", "file", made.Name, "error", err)
		}
		httpserve.WriteJSON(w, http.StatusCreated, made)
	}
}

func (h *Handler) backups(w http.ResponseWriter, r *http.Request) {
	if err := strict(r.URL.Query(), nil); err != nil {
		bad(w, r, err)
		return
	}
	all, err := h.Backups.List()
	if err != nil {
		h.Log.ErrorContext(r.Context(), "listing backups failed", "error", err)
		httpserve.WriteError(w, r, http.StatusInternalServerError, "internal", "the backups could not be listed; the log has the details under this request id")
		return
	}
	httpserve.WriteJSON(w, http.StatusOK, all)
}
