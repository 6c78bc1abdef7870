// Grafanastandin takes Grafana's place in the container tests, on machines where
// no registry has its image. It reads the provisioning as Grafana does, refuses
// what is wrong, and then answers /api/health, and /api/search with the dashboards
// that it found. It draws nothing.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// dashboard is one entry of /api/search.
type dashboard struct {
	UID    string `json:"uid"`
	Title  string `json:"title"`
	Folder string `json:"folderTitle"`
}

func main() {
	if err := run("/etc/grafana/provisioning", ":3000"); err != nil {
		fmt.Fprintln(os.Stderr, "grafana stand-in:", err)
		os.Exit(1)
	}
}

func run(provisioning, listen string) error {
	file := os.Getenv("GF_SECURITY_ADMIN_PASSWORD__FILE")
	password, err := os.ReadFile(file) //nolint:gosec // as Grafana does
	if err != nil {
		return fmt.Errorf("reading the admin password: %w", err)
	}
	if len(strings.TrimSpace(string(password))) < 16 {
		return fmt.Errorf("the admin password of %s is too short", file)
	}
	source, err := datasource(provisioning)
	if err != nil {
		return err
	}
	found, err := dashboards(provisioning)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/health", func(w http.ResponseWriter, r *http.Request) { health(w, r, source) })
	mux.HandleFunc("GET /api/search", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(found) // a caller that is gone needs no answer
	})
	server := &http.Server{Addr: listen, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	return server.ListenAndServe()
}

// health answers as Grafana does where the datasource answers too.
func health(w http.ResponseWriter, r *http.Request, source string) {
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, source+"/-/ready", nil)
	if err == nil {
		var response *http.Response
		if response, err = http.DefaultClient.Do(request); err == nil {
			_, _ = io.Copy(io.Discard, response.Body) // only the status matters
			_ = response.Body.Close()
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, `{"database":"ok","standIn":true}`)
}

// read decodes every file of a folder strictly.
func read[T any](dir string) ([]T, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no provisioning in %s: %w", dir, err)
	}
	all := make([]T, 0, len(files))
	for _, name := range files {
		file, err := os.Open(filepath.Clean(name))
		if err != nil {
			return nil, err
		}
		var one T
		decoder := yaml.NewDecoder(file)
		decoder.KnownFields(true)
		if err := errors.Join(decoder.Decode(&one), file.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, one)
	}
	return all, nil
}

// datasource returns the address of the default one.
func datasource(provisioning string) (string, error) {
	type sources struct {
		Version int `yaml:"apiVersion"`
		Sources []struct {
			Name, UID, Type, Access, URL string
			Default                      bool           `yaml:"isDefault"`
			Editable                     bool           `yaml:"editable"`
			Data                         map[string]any `yaml:"jsonData"`
		} `yaml:"datasources"`
	}
	all, err := read[sources](filepath.Join(provisioning, "datasources"))
	if err != nil {
		return "", err
	}
	for _, file := range all {
		for _, s := range file.Sources {
			if file.Version == 1 && s.Default && s.Type == "prometheus" && s.UID != "" && s.URL != "" {
				return s.URL, nil
			}
		}
	}
	return "", errors.New("no default datasource of type prometheus with a uid")
}

// dashboards returns what the providers provide.
func dashboards(provisioning string) ([]dashboard, error) {
	type providers struct {
		Version   int `yaml:"apiVersion"`
		Providers []struct {
			Name, Folder, Type string
			FolderUID          string `yaml:"folderUid"`
			DisableDeletion    bool   `yaml:"disableDeletion"`
			AllowUIUpdates     bool   `yaml:"allowUiUpdates"`
			Seconds            int    `yaml:"updateIntervalSeconds"`
			Options            struct {
				Path    string
				Folders bool `yaml:"foldersFromFilesStructure"`
			}
		}
	}
	all, err := read[providers](filepath.Join(provisioning, "dashboards"))
	if err != nil {
		return nil, err
	}
	var found []dashboard
	for _, file := range all {
		for _, p := range file.Providers {
			files, err := filepath.Glob(filepath.Join(p.Options.Path, "*.json"))
			if err != nil || file.Version != 1 || p.Type != "file" || len(files) == 0 {
				return nil, fmt.Errorf("provider %s: no dashboards in %s: %w", p.Name, p.Options.Path, err)
			}
			for _, name := range files {
				d := dashboard{Folder: p.Folder}
				text, err := os.ReadFile(filepath.Clean(name))
				if err == nil {
					err = json.Unmarshal(text, &d)
				}
				if err != nil || d.UID == "" || d.Title == "" {
					return nil, fmt.Errorf("%s is no dashboard with uid and title: %w", name, err)
				}
				found = append(found, d)
			}
		}
	}
	return found, nil
}
