package admin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/fleetwatch/fleetwatch/internal/gateway/audit"
	"github.com/fleetwatch/fleetwatch/internal/gateway/client"
	"github.com/fleetwatch/fleetwatch/internal/gateway/clientstore"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/obslog"
)

// Client is the holder of a client key as the API shows it: never with the key.
type Client struct {
	Name             string     `json:"name"`
	Source           string     `json:"source"` // file or api
	Enabled          bool       `json:"enabled"`
	RPM              int        `json:"rpm"`
	TPM              int        `json:"tpm"`
	DailyBudget      float64    `json:"daily_budget"`
	MonthlyBudget    float64    `json:"monthly_budget"`
	DailyRemaining   *float64   `json:"daily_remaining_ratio"` // null without a budget
	MonthlyRemaining *float64   `json:"monthly_remaining_ratio"`
	Models           []string   `json:"models"` // empty = all
	Force            []string   `json:"force_capabilities"`
	Expires          string     `json:"expires"`    // empty = never
	CreatedAt        *time.Time `json:"created_at"` // null where it is declared
	UpdatedAt        *time.Time `json:"updated_at"`
}

// NewClient is a client right after it was made, with its key, which is shown this once.
type NewClient struct {
	Client
	Key string `json:"key"`
}

// EditKind is what is done to a client.
type EditKind int

// The kinds of edits.
const (
	Create EditKind = iota
	Update
	Delete
)

// ClientEdit is a change of a client that the API made or makes.
type ClientEdit struct {
	Kind   EditKind
	Name   string
	Sum    [sha256.Size]byte           // of the key, for Create
	Change func(*clientstore.Settings) // of what is there, for Create of the defaults
	Entry  audit.Entry
}

// ErrDeclared is returned where the client stands in the configuration file.
var ErrDeclared = errors.New("the client is declared in the configuration file")

// clientBody is what POST and PUT take; what is left out stays as it is.
type clientBody struct {
	Name          *string   `json:"name"`
	RPM           *int      `json:"rpm"`
	TPM           *int      `json:"tpm"`
	DailyBudget   *float64  `json:"daily_budget"`
	MonthlyBudget *float64  `json:"monthly_budget"`
	Models        *[]string `json:"models"`
	Force         *[]string `json:"force_capabilities"`
	Expires       *string   `json:"expires"`
	Enabled       *bool     `json:"enabled"`
}

const maxNames = 1000 // models or capabilities of a client

// check says everything that is wrong with the body.
func (b *clientBody) check() error {
	var problems []string
	wrong := func(field string, err error) {
		if err != nil {
			problems = append(problems, field+": "+err.Error())
		}
	}
	for field, n := range map[string]*int{"rpm": b.RPM, "tpm": b.TPM} {
		if n != nil && (*n < 0 || *n > 1<<31-1) {
			wrong(field, fmt.Errorf("expected 0 (no limit) to %d, got %d", 1<<31-1, *n))
		}
	}
	for field, units := range map[string]*float64{"daily_budget": b.DailyBudget, "monthly_budget": b.MonthlyBudget} {
		if units != nil {
			wrong(field, client.CheckBudget(*units))
		}
	}
	for field, names := range map[string]*[]string{"models": b.Models, "force_capabilities": b.Force} {
		if names != nil && (len(*names) > maxNames || slices.ContainsFunc(*names, func(s string) bool { return strings.TrimSpace(s) != s || s == "" })) {
			wrong(field, fmt.Errorf("expected at most %d names, none empty or with spaces around it", maxNames))
		}
	}
	if b.Expires != nil {
		_, err := client.Expiry(*b.Expires)
		wrong("expires", err)
	}
	slices.Sort(problems)
	if len(problems) > 0 {
		return errors.New(strings.Join(problems, "; "))
	}
	return nil
}

// apply changes settings; the body was checked.
func (b *clientBody) apply(s *clientstore.Settings) {
	set(&s.RPM, b.RPM)
	set(&s.TPM, b.TPM)
	set(&s.DailyBudget, b.DailyBudget)
	set(&s.MonthlyBudget, b.MonthlyBudget)
	set(&s.Models, b.Models)
	set(&s.Force, b.Force)
	set(&s.Enabled, b.Enabled)
	if b.Expires != nil {
		s.Expires, _ = client.Expiry(*b.Expires)
	}
}

func set[T any](to *T, given *T) {
	if given != nil {
		*to = *given
	}
}

// given names the settings that the body has, with their values, for the audit trail.
func (b *clientBody) given() string {
	var parts []string
	add := func(name string, has bool, value func() any) {
		if has {
			parts = append(parts, fmt.Sprintf("%s=%v", name, value()))
		}
	}
	add("rpm", b.RPM != nil, func() any { return *b.RPM })
	add("tpm", b.TPM != nil, func() any { return *b.TPM })
	add("daily_budget", b.DailyBudget != nil, func() any { return *b.DailyBudget })
	add("monthly_budget", b.MonthlyBudget != nil, func() any { return *b.MonthlyBudget })
	add("models", b.Models != nil, func() any { return *b.Models })
	add("force_capabilities", b.Force != nil, func() any { return *b.Force })
	add("expires", b.Expires != nil, func() any { return *b.Expires })
	add("enabled", b.Enabled != nil, func() any { return *b.Enabled })
	return strings.Join(parts, " ")
}

func (h *Handler) clients(w http.ResponseWriter, r *http.Request) {
	if err := strict(r.URL.Query(), nil); err != nil {
		bad(w, r, err)
		return
	}
	httpserve.WriteJSON(w, http.StatusOK, h.Clients())
}

func (h *Handler) client(w http.ResponseWriter, r *http.Request) {
	if c, ok := h.named(mux.Vars(r)["name"]); ok {
		httpserve.WriteJSON(w, http.StatusOK, c)
		return
	}
	h.refuse(w, r, clientstore.ErrNotFound)
}

func (h *Handler) named(name string) (Client, bool) {
	all := h.Clients()
	i := slices.IndexFunc(all, func(c Client) bool { return c.Name == name })
	if i < 0 {
		return Client{}, false
	}
	return all[i], true
}

// ReadClient reads what makes a client, as POST takes it, for a program that makes one
// without a gateway that runs.
func ReadClient(raw []byte) (name string, s clientstore.Settings, err error) {
	var b clientBody
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&b); err != nil {
		return "", s, err
	}
	if name, err = b.named(); err != nil {
		return "", s, err
	}
	s.Enabled = true
	b.apply(&s)
	return name, s, nil
}

// named checks a body that makes a client, and returns the client's name.
func (b *clientBody) named() (name string, err error) {
	set(&name, b.Name)
	err = b.check()
	if wrong := client.CheckName(name); wrong != nil {
		err = errors.Join(fmt.Errorf("name: %w", wrong), err)
	}
	return name, err
}

func (h *Handler) createClient(w http.ResponseWriter, r *http.Request) {
	var b clientBody
	if !httpserve.ReadJSON(w, r, &b) {
		return
	}
	name, err := b.named()
	if err != nil {
		h.badClient(w, r, err)
		return
	}
	key, sum := clientstore.NewKey()
	err = h.ChangeClient(r.Context(), ClientEdit{Kind: Create, Name: name, Sum: sum, Change: b.apply, Entry: h.entry(r, audit.CreateClient, name, b.given())})
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	made, _ := h.named(name)
	w.Header().Set("Cache-Control", "no-store")
	httpserve.WriteJSON(w, http.StatusCreated, NewClient{made, key.Reveal()})
}

func (h *Handler) updateClient(w http.ResponseWriter, r *http.Request) {
	var b clientBody
	if !httpserve.ReadJSON(w, r, &b) {
		return
	}
	name := mux.Vars(r)["name"]
	err := b.check()
	if b.Name != nil && *b.Name != name {
		err = errors.Join(errors.New("name: cannot be changed; make another client"), err)
	}
	if err != nil {
		h.badClient(w, r, err)
		return
	}
	if err := h.ChangeClient(r.Context(), ClientEdit{Kind: Update, Name: name, Change: b.apply, Entry: h.entry(r, audit.UpdateClient, name, b.given())}); err != nil {
		h.refuse(w, r, err)
		return
	}
	h.client(w, r)
}

func (h *Handler) deleteClient(w http.ResponseWriter, r *http.Request) {
	name := mux.Vars(r)["name"]
	if err := h.ChangeClient(r.Context(), ClientEdit{Kind: Delete, Name: name, Entry: h.entry(r, audit.DeleteClient, name, "")}); err != nil {
		h.refuse(w, r, err)
		return
	}
	httpserve.WriteJSON(w, http.StatusOK, map[string]string{"status": "deleted", "name": name})
}

func (h *Handler) badClient(w http.ResponseWriter, r *http.Request, err error) {
	httpserve.WriteError(w, r, http.StatusBadRequest, "bad_client", strings.ReplaceAll(err.Error(), "\n", "; "))
}

// refuse answers a change that was not made.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, clientstore.ErrNotFound):
		httpserve.WriteError(w, r, http.StatusNotFound, "not_found", err.Error())
	case errors.Is(err, clientstore.ErrExists):
		httpserve.WriteError(w, r, http.StatusConflict, "client_exists", err.Error())
	case errors.Is(err, ErrDeclared):
		httpserve.WriteError(w, r, http.StatusConflict, "declared", err.Error()+"; change it there, and reload")
	default:
		h.Log.ErrorContext(r.Context(), "changing a client failed", "error", err)
		httpserve.WriteError(w, r, http.StatusServiceUnavailable, "store_failed", "nothing was changed: the store could not be written; /ready and the log say why")
	}
}

// entry is an entry of the audit trail about the request.
func (h *Handler) entry(r *http.Request, action audit.Action, target, detail string) audit.Entry {
	return audit.Entry{At: h.Now(), Actor: "admin", Remote: r.RemoteAddr, Action: action, Target: target, Detail: detail, RequestID: obslog.RequestID(r.Context())}
}

// ChangeClient makes a change of a client, or returns why it was not made:
// [clientstore.ErrExists], [clientstore.ErrNotFound], [ErrDeclared], or the store's.
type ChangeClient func(ctx context.Context, edit ClientEdit) error
