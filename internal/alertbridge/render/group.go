package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
)

// differing shows, for a group of several alerts, the labels in which they
// differ, one alert a line.
func (r *Renderer) differing(c *card.Card, l limits) string {
	if len(c.Alerts) < 2 {
		return ""
	}
	names := differingLabels(c.Alerts)
	var lines []string
	for i, a := range c.Alerts {
		if i == l.alerts {
			lines = append(lines, fmt.Sprintf(r.words.more, len(c.Alerts)-i))
			break
		}
		mark := "🔥"
		switch a.Status {
		case card.Resolved, card.Contested, card.Discarded:
			mark = "✅"
		case card.Unknown:
			mark = "❔"
		case card.Firing, card.Ended:
			if a.Mute != nil {
				mark = "🔕"
			}
		}
		var parts []string
		for _, n := range names {
			if v := a.Labels[n]; v != "" {
				parts = append(parts, clip(n, 40)+"="+clip(oneLine(v), 80))
			}
		}
		if v := a.Annotations["value"]; v != "" {
			parts = append(parts, "("+clip(oneLine(v), 40)+")")
		}
		lines = append(lines, mark+" "+clip(strings.Join(parts, " "), l.chars))
	}
	return strings.Join(lines, "\n")
}

func differingLabels(alerts []card.Alert) []string {
	values := map[string]map[string]bool{}
	for _, a := range alerts {
		for name := range a.Labels {
			values[name] = map[string]bool{}
		}
	}
	for name, seen := range values {
		for _, a := range alerts {
			seen[a.Labels[name]] = true
		}
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(values[name]) > 1 {
			names = append(names, name)
		}
	}
	return names
}
