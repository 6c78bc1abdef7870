// Package buildinfo says which build of a program this is.
package buildinfo

import (
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

// version and revision are set by the linker (see the Makefile); a build
// without them falls back to what the Go toolchain recorded.
var (
	version  = ""
	revision = ""
)

// Info names a build.
type Info struct {
	Version   string // semantic version, or "devel"
	Revision  string // VCS commit, or "unknown"
	GoVersion string // as [runtime.Version]
}

// Get returns the facts of the running build.
func Get() Info {
	info := Info{Version: version, Revision: revision, GoVersion: runtime.Version()}
	if bi, ok := debug.ReadBuildInfo(); ok && info.Revision == "" {
		for _, s := range bi.Settings {
			if s.Key == "vcs.revision" {
				info.Revision = s.Value
			}
		}
	}
	if info.Version == "" {
		info.Version = "devel"
	}
	if info.Revision == "" {
		info.Revision = "unknown"
	}
	return info
}

// Collector returns the gauge fleetwatch_build_info{program,version,revision,
// goversion}, always 1.
func Collector(program string) prometheus.Collector {
	info := Get()
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fleetwatch_build_info",
		Help: "The build of the program; always 1.",
		ConstLabels: prometheus.Labels{
			"program": program, "version": info.Version, "revision": info.Revision, "goversion": info.GoVersion,
		},
	}, func() float64 { return 1 })
}
