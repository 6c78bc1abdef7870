// Package compose prepares the container stack of compose/compose.yaml: it makes
// what must be secret, once, and hands each service the files that it needs, owned
// by that service's user and readable by nobody else. The gate tests beside it hold
// the compose files to that, and to what every service must have.
package compose

import (
	"errors"
	"fmt"
	"strings"
)

// CheckSettings refuses settings that would be ignored; set tells whether one is
// set.
func CheckSettings(set func(name string) bool) error {
	for _, name := range []string{"FLEET", "GATEWAY"} {
		if set(name+"_FILE") && !set(name+"_DIR") {
			return fmt.Errorf("%[1]s_FILE is set and %[1]s_DIR is not: containers see folders only, so that edits are noticed; "+
				"name the file %[2]s.yaml and set %[1]s_DIR to its folder", name, strings.ToLower(name))
		}
	}
	if set("FEISHU_APP_ID") != set("FEISHU_APP_SECRET") {
		return errors.New("FEISHU_APP_ID and FEISHU_APP_SECRET: expected both or none")
	}
	return nil
}
