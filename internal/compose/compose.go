// Package compose prepares the container stack of compose/compose.yaml: it makes
// what must be secret, once, and hands each service the files that it needs, owned
// by that service's user and readable by nobody else. The gate tests beside it hold
// the compose files to that, and to what every service must have.
package compose

import "errors"

// CheckSettings refuses settings that would be ignored; set tells whether one is
// set.
func CheckSettings(set func(name string) bool) error {
	if set("FLEET_FILE") && !set("FLEET_DIR") {
		return errors.New("FLEET_FILE is set and FLEET_DIR is not: containers see folders only, so that edits of the roster are noticed; " +
			"name it fleet.yaml and set FLEET_DIR to its folder")
	}
	if set("FEISHU_APP_ID") != set("FEISHU_APP_SECRET") {
		return errors.New("FEISHU_APP_ID and FEISHU_APP_SECRET: expected both or none")
	}
	return nil
}
