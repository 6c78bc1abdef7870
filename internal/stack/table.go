package stack

import (
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"
)

// PrintTable prints how the suite is, for a person. Stand-ins are marked, with
// the setting that replaces each.
func PrintTable(w io.Writer, l Layout, statuses []Status) {
	PrintServices(w, statuses)
	_, _ = fmt.Fprintf(w, "\nsecrets: %s   logs: %s\n", l.secret(""), l.log("NAME"))
	_, _ = fmt.Fprintf(w, "next:    %s   (gateway, heartbeat, exporter and alertbridge, set up for this suite)\n", filepath.Join(l.Dir, "bin", "heartbeat")+" status")
}

// PrintServices prints the services alone.
func PrintServices(w io.Writer, statuses []Status) {
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "SERVICE\tURL\tSTATE\tNEXT")
	standIns := 0
	for _, s := range statuses {
		name, next := s.Service, s.Next
		if s.StandIn != "" {
			name, standIns = name+" *", standIns+1
			next += "  [stand-in for " + s.StandIn + "]"
		}
		state := s.State
		if s.Restarts > 0 {
			state += fmt.Sprintf(" (restarted %d, last: %s)", s.Restarts, s.Ended)
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", name, s.URL, state, next)
	}
	_ = table.Flush() // printing to a terminal that is gone needs no error
	if standIns > 0 {
		_, _ = fmt.Fprintf(w, "\n* a stand-in, used while its part is not configured; settings go into compose/.env (see compose/.env.example)\n")
	}
}
