package admin

import (
	"net/http"
	"strconv"

	"github.com/fleetwatch/fleetwatch/internal/gateway/audit"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
)

// audit answers with the audit trail, newest first.
func (h *Handler) audit(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if err := strict(query, []string{"before", limited}); err != nil {
		bad(w, r, err)
		return
	}
	limit, err := number(query, limited, defaultLimit, maxLimit)
	if err != nil {
		bad(w, r, err)
		return
	}
	before, err := number(query, "before", 0, 1<<62)
	if err != nil {
		bad(w, r, err)
		return
	}
	entries, err := audit.List(r.Context(), h.Ledger.Store(), int64(before), limit+1) // one more tells whether there is a next page
	if err != nil {
		h.failed(w, r, err)
		return
	}
	if len(entries) > limit {
		entries = entries[:limit]
		query.Set("before", strconv.FormatInt(entries[limit-1].ID, 10))
		w.Header().Set("Link", "<"+r.URL.Path+"?"+query.Encode()+`>; rel="next"`)
	}
	httpserve.WriteJSON(w, http.StatusOK, entries)
}
