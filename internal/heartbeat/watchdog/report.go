package watchdog

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Report is what the body of a fail says.
type Report struct {
	Text   string
	Alerts []string // names, if Alertmanager sent it
	// Resolved says that Alertmanager sent it for alerts that ended: no
	// failure at all.
	Resolved bool
}

// maxReport bounds the text of a report.
const maxReport = 2000

// ParseReport reads Alertmanager's webhook body, or any text.
func ParseReport(body string) Report {
	var message struct {
		Status string `json:"status"`
		Alerts []struct {
			Status      string            `json:"status"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"alerts"`
	}
	if json.Unmarshal([]byte(body), &message) != nil || len(message.Alerts) == 0 {
		return Report{Text: shorten(strings.TrimSpace(strings.ToValidUTF8(body, "\uFFFD")))}
	}
	report := Report{Resolved: message.Status == "resolved"}
	var lines []string
	seen := map[string]bool{}
	for _, alert := range message.Alerts {
		name := alert.Labels["alertname"]
		if alert.Status == "resolved" || name == "" {
			continue
		}
		if !seen[name] {
			seen[name] = true
			report.Alerts = append(report.Alerts, name)
		}
		line := name
		if severity := alert.Labels["severity"]; severity != "" {
			line = fmt.Sprintf("%s (%s)", name, severity)
		}
		if summary := alert.Annotations["summary"]; summary != "" {
			line += ": " + summary
		}
		lines = append(lines, line)
	}
	report.Text = shorten(strings.Join(lines, "\n"))
	return report
}

func shorten(text string) string {
	if len(text) <= maxReport {
		return text
	}
	cut := maxReport
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + " …"
}
