package feishu

import "slices"

// The scopes of each call; any one of a list is enough, as the page of each API says.

func sendScopes() []string { return []string{"im:message", "im:message:send_as_bot"} }

func patchScopes() []string { return append(sendScopes(), "im:message:update") }

func historyScopes() []string {
	return []string{"im:message", "im:message:readonly", "im:message.history:readonly"}
}

// groupScope is needed beside one of historyScopes to read the messages of a group.
const groupScope = "im:message.group_msg"

func chatScopes() []string {
	return []string{"im:chat", "im:chat:readonly", "im:chat.members:read", "im:chat.group_info:readonly"}
}

func contactScopes() []string {
	return []string{"contact:contact.base:readonly", "contact:contact:readonly_as_app", "contact:contact:access_as_app", "contact:contact:readonly"}
}

// urgentScopes are those of a way to buzz.
func urgentScopes(way string) []string {
	switch way {
	case "sms":
		return []string{"im:message.urgent:sms", "im:message.urgent:sms_send"}
	case "phone":
		return []string{"im:message.urgent:phone"}
	default:
		return []string{"im:message.urgent"}
	}
}

// allowedUrgent is allowed for the way that the call names.
func (s *Server) allowedUrgent(handle func(*call) answer) func(*call) answer {
	return func(c *call) answer { return s.allowed(handle, urgentScopes(c.vars["channel"])...)(c) }
}

// knownScopes are the scopes of an app to which everything is granted.
func knownScopes() []string {
	all := slices.Concat(patchScopes(), historyScopes(), []string{groupScope}, chatScopes(), contactScopes(),
		urgentScopes("app"), urgentScopes("sms"), urgentScopes("phone"))
	slices.Sort(all)
	return slices.Compact(all)
}
