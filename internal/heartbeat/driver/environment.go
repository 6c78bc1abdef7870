package driver

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// MarkVariable is the variable that marks every process of a run with its id.
const MarkVariable = "HEARTBEAT_RUN_ID"

// allowed are the variables that every command gets, as far as they are set.
var allowed = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
}

var secretName = regexp.MustCompile(`(?i)(key|token|secret|password|passwd|credential)`)

// Environment returns what a command sees: the allowed variables, those whose
// names the roster lists, and the facts of the call. It also returns the values
// of listed variables whose names say that they are secret.
func Environment(call Call, names []string) (env []string, secrets []redact.Secret) {
	for _, name := range slices.Concat(allowed, names) {
		value, ok := os.LookupEnv(name)
		if !ok {
			continue
		}
		env = append(env, name+"="+value)
		if secretName.MatchString(name) && len(value) >= minPart {
			secrets = append(secrets, redact.Secret(value))
		}
	}
	if !slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "PATH=") }) {
		env = append(env, "PATH=/usr/local/bin:/usr/bin:/bin")
	}
	facts := []struct{ name, value string }{
		{MarkVariable, call.RunID},
		{"HEARTBEAT_ATTEMPT", strconv.Itoa(call.Attempt)},
		{"HEARTBEAT_AGENT", call.Agent},
		{"HEARTBEAT_SLOT", call.Slot.UTC().Format(time.RFC3339)},
		{"HEARTBEAT_TRIGGER", call.Trigger},
		{"HEARTBEAT_REASON", call.Reason},
		{"HEARTBEAT_MESSAGE", call.Message},
	}
	for _, fact := range facts {
		env = append(env, fmt.Sprintf("%s=%s", fact.name, strings.ReplaceAll(fact.value, "\x00", "")))
	}
	return env, secrets
}
