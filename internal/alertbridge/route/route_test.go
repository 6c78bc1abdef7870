package route_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/route"
)

func options() route.Options {
	return route.Options{
		Known:          []string{"oncall", "coo", "infra"},
		Severity:       map[string][]string{"critical": {"oncall"}, "warning": {"coo"}, "info": {}, "default": {"coo"}},
		OwnerReceivers: true,
		Location:       time.FixedZone("CST", 8*3600),
		Rules: []route.Rule{
			{Matchers: []string{`team="infra"`, `severity=~"critical|warning"`}, Receivers: []string{"infra"}, Hours: "Mon-Fri 09:00-19:00"},
			{Matchers: []string{`copy="yes"`}, Receivers: []string{"infra"}, Continue: true},
			{Matchers: []string{`copy="yes"`, `severity="critical"`}, Receivers: []string{"oncall", "infra"}},
			{Matchers: []string{`noise="yes"`}},
		},
	}
}

func TestReceivers(t *testing.T) {
	table, problems := route.New(options())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	monday10 := time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC) // 10:00 in +08:00
	monday20 := monday10.Add(10 * time.Hour)
	sunday10 := monday10.AddDate(0, 0, -1)
	for _, c := range []struct {
		name   string
		labels map[string]string
		at     time.Time
		want   []string
	}{
		{"critical", map[string]string{"severity": "critical"}, monday10, []string{"oncall"}},
		{"empty list drops", map[string]string{"severity": "info"}, monday10, []string{}},
		{"unnamed severity takes the default", map[string]string{"severity": "page"}, monday10, []string{"coo"}},
		{"no severity takes the default", map[string]string{}, monday10, []string{"coo"}},
		{"owner is added", map[string]string{"severity": "critical", "owner": "coo"}, monday10, []string{"oncall", "coo"}},
		{"owner is not told twice", map[string]string{"severity": "warning", "owner": "coo"}, monday10, []string{"coo"}},
		{"owner without a receiver", map[string]string{"severity": "critical", "owner": "nobody"}, monday10, []string{"oncall"}},
		{"owner hears what is dropped for others", map[string]string{"severity": "info", "owner": "coo"}, monday10, []string{"coo"}},
		{"rule wins", map[string]string{"severity": "critical", "team": "infra"}, monday10, []string{"infra"}},
		{"rule out of hours", map[string]string{"severity": "critical", "team": "infra"}, monday20, []string{"oncall"}},
		{"rule on another day", map[string]string{"severity": "critical", "team": "infra"}, sunday10, []string{"oncall"}},
		{"continue goes on", map[string]string{"severity": "critical", "copy": "yes"}, monday10, []string{"infra", "oncall"}},
		{"continue alone is a match", map[string]string{"severity": "warning", "copy": "yes"}, monday10, []string{"infra"}},
		{"a rule without receivers drops", map[string]string{"severity": "critical", "noise": "yes"}, monday10, []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, table.Receivers(c.labels, c.at)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestProblemsAreAllNamed(t *testing.T) {
	o := options()
	o.Severity["critical"] = []string{"oncal"}
	o.Rules = []route.Rule{{Matchers: []string{`a="b"`, `!!`}, Receivers: []string{"infra", "x"}, Hours: "always"}}
	_, problems := route.New(o)
	var paths []string
	for _, p := range problems {
		paths = append(paths, p.Path)
	}
	want := []string{"severity.critical[0]", "routes[0].matchers[1]", "routes[0].hours", "routes[0].receivers[1]"}
	if !slices.Equal(paths, want) {
		t.Errorf("got %v, want %v", paths, want)
	}
}

func TestHoursOverMidnight(t *testing.T) {
	o := options()
	o.Rules = []route.Rule{{Receivers: []string{"infra"}, Hours: "Fri-Sat 22:00-06:00"}}
	table, problems := route.New(o)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	friday := time.Date(2026, 11, 27, 0, 0, 0, 0, o.Location)
	for hour, want := range map[int]string{21: "oncall", 23: "infra", 24 + 5: "infra", 24 + 7: "oncall", 48 + 5: "infra", 72 + 5: "oncall"} {
		got := table.Receivers(map[string]string{"severity": "critical"}, friday.Add(time.Duration(hour)*time.Hour))
		if !slices.Equal(got, []string{want}) {
			t.Errorf("%d h after Friday's midnight: got %v, want %s", hour, got, want)
		}
	}
}
