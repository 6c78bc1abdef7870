package gateway

import (
	"fmt"
	"reflect"
	"slices"
)

// Unavailable is a setting whose feature this version does not have.
type Unavailable struct {
	Key, Feature string
	Set          bool // to something else than its default
}

// unavailable lists the settings that have no effect yet, those left at their
// defaults as well: nobody should think that they are in force.
func (c *Config) unavailable() []Unavailable {
	d := DefaultConfig()
	differs := func(a, b any) bool { return !reflect.DeepEqual(a, b) }
	out := []Unavailable{
		{"shared", "limits and cooldowns shared by several gateways", differs(c.Shared, d.Shared)},
		{"routing.queue", "waiting for a backend: a request that no backend can take at once is answered 429 or 503", differs(c.Routing.Queue, d.Routing.Queue)},
		{"routing.emergency_rpm_fraction", "calls to cooling backends in an emergency", c.Routing.EmergencyRPMFraction != d.Routing.EmergencyRPMFraction},
		{"health", "free probes of backends", differs(c.Health, d.Health)},
		{"capture", "keeping bodies", differs(c.Capture, d.Capture)},
		{"retention.hourly", "hourly sums", c.Retention.Hourly != d.Retention.Hourly},
		{"backup", "backups by schedule", c.Backup.Every != d.Backup.Every || c.Backup.Keep != d.Backup.Keep},
	}
	add := func(set bool, key, feature string) {
		if set {
			out = append(out, Unavailable{key, feature, true})
		}
	}
	for i, x := range c.Clients.Declared {
		path := fmt.Sprintf("clients.declared[%d]", i)
		add(x.RPM > 0, path+".rpm", "limits of a client")
		add(x.TPM > 0, path+".tpm", "limits of a client")
		add(x.DailyBudget > 0, path+".daily_budget", "budgets")
		add(x.MonthlyBudget > 0, path+".monthly_budget", "budgets")
	}
	for i, x := range c.Backends {
		path := fmt.Sprintf("backends[%d]", i)
		add(x.TPMLimit > 0, path+".tpm_limit", "tokens a minute")
		add(slices.ContainsFunc(x.API, func(a string) bool { return dialectOf(a) == apiAnthropic }), path+".api", "the Anthropic dialect")
		for name, m := range x.Models {
			add(len(m.InputModalities) > 0 && !slices.Equal(m.InputModalities, []string{"text"}), path+".models."+name+".input_modalities", "choosing backends by what a request holds")
		}
	}
	return out
}
