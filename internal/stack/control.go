package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/gorilla/mux"
)

// socketName is the supervisor's own door. It stands in a folder that only this
// user may enter.
const socketName = "control.sock"

// ServeControl lets `status`, `down`, `start` and `stop` reach the supervisor
// until ctx ends. stop is called when somebody asks the suite to end.
func (s *Supervisor) ServeControl(ctx context.Context, stop func()) error {
	path := filepath.Join(s.plan.Layout.Dir, socketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("opening the control socket: %w", err)
	}
	listener, err := listenUnix(ctx, path)
	if err != nil {
		return fmt.Errorf("opening the control socket: %w", err)
	}
	router := mux.NewRouter()
	router.HandleFunc("/status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.Statuses()) // a caller that is gone needs no answer
	}).Methods(http.MethodGet)
	router.HandleFunc("/down", func(http.ResponseWriter, *http.Request) { stop() }).Methods(http.MethodPost)
	router.HandleFunc("/services/{name}/{action:start|stop|kill}", func(w http.ResponseWriter, r *http.Request) {
		vars := mux.Vars(r)
		if err := s.act(r.Context(), vars["action"], vars["name"]); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	}).Methods(http.MethodPost)
	server := &http.Server{Handler: router, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close() // its callers are told by the closed connection
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (s *Supervisor) act(ctx context.Context, action, name string) error {
	switch action {
	case "start":
		return s.Start(ctx, name)
	case "stop":
		return s.Stop(name)
	default:
		return s.Kill(name)
	}
}

// listenUnix goes through the folder's own descriptor, since a socket's path is
// limited to about a hundred characters and a checkout's is not.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	short, closer, err := shortPath(path)
	if err != nil {
		return nil, err
	}
	defer closer()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", short)
	if err != nil {
		return nil, err
	}
	if l, ok := listener.(*net.UnixListener); ok {
		l.SetUnlinkOnClose(false)
	}
	return listener, nil
}

func shortPath(path string) (string, func(), error) {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), filepath.Base(path)), func() { _ = folder.Close() }, nil
}

// Remote is a supervisor that runs in another process.
type Remote struct {
	layout Layout
	client *http.Client
}

// ErrNotRunning says that no supervisor of the layout runs.
var ErrNotRunning = errors.New("the suite is not running")

// Connect returns the running supervisor of the layout.
func Connect(l Layout) *Remote {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		short, closer, err := shortPath(filepath.Join(l.Dir, socketName))
		if err != nil {
			return nil, err
		}
		defer closer()
		return (&net.Dialer{}).DialContext(ctx, "unix", short)
	}
	return &Remote{layout: l, client: &http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 2 * time.Minute}}
}

func (r *Remote) do(ctx context.Context, method, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://supervisor"+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := r.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNotRunning, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(string(body))
	}
	return body, nil
}

// Statuses returns how every service is.
func (r *Remote) Statuses(ctx context.Context) ([]Status, error) {
	body, err := r.do(ctx, http.MethodGet, "/status")
	if err != nil {
		return nil, err
	}
	var all []Status
	return all, json.Unmarshal(body, &all)
}

// Do starts, stops or kills one service.
func (r *Remote) Do(ctx context.Context, action, service string) error {
	_, err := r.do(ctx, http.MethodPost, "/services/"+service+"/"+action)
	return err
}

// Down asks the suite to end.
func (r *Remote) Down(ctx context.Context) error {
	_, err := r.do(ctx, http.MethodPost, "/down")
	return err
}
