package gateway

import "reflect"

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
		{"capture", "keeping bodies", differs(c.Capture, d.Capture)},
	}
	return out
}
