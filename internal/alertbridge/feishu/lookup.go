package feishu

import (
	"context"
	"errors"

	larkcore "github.com/larksuite/oapi-sdk-go/v3/core"
	larkcontact "github.com/larksuite/oapi-sdk-go/v3/service/contact/v3"
	larkim "github.com/larksuite/oapi-sdk-go/v3/service/im/v1"
)

// granted is the grant_status of a scope that the tenant granted, and tenantScope the
// scope_type of those that an app has for itself rather than for a user.
// https://open.feishu.cn/document/uAjLw4CM/ukTMukTMukTM/application-v6/scope/list
const (
	granted     = 1
	tenantScope = "tenant"
)

// Scopes returns the names of the scopes that the tenant granted to the app. It needs
// no scope itself.
func (c *Client) Scopes(ctx context.Context) (map[string]bool, error) {
	scopes := map[string]bool{}
	err := c.call(ctx, func(ctx context.Context, token larkcore.RequestOptionFunc) (*larkcore.ApiResp, larkcore.CodeError, error) {
		r, err := c.sdk.Application.V6.Scope.List(ctx, token)
		if err != nil {
			return nil, larkcore.CodeError{}, err
		}
		if r.Data == nil {
			return r.ApiResp, r.CodeError, nil
		}
		for _, s := range r.Data.Scopes {
			ours := s.ScopeType == nil || *s.ScopeType == "" || *s.ScopeType == tenantScope
			if ours && s.ScopeName != nil && s.GrantStatus != nil && *s.GrantStatus == granted {
				scopes[*s.ScopeName] = true
			}
		}
		return r.ApiResp, r.CodeError, nil
	})
	return scopes, err
}

// InChat reports whether the app's bot is in the chat with the id (oc_...). It needs
// one of the scopes im:chat:readonly, im:chat, im:chat.members:read. An id of no chat
// is an [*Error] of class [Target].
func (c *Client) InChat(ctx context.Context, chat string) (in bool, err error) {
	err = c.call(ctx, func(ctx context.Context, token larkcore.RequestOptionFunc) (*larkcore.ApiResp, larkcore.CodeError, error) {
		r, err := c.sdk.Im.V1.ChatMembers.IsInChat(ctx, larkim.NewIsInChatChatMembersReqBuilder().ChatId(chat).Build(), token)
		if err != nil {
			return nil, larkcore.CodeError{}, err
		}
		in = r.Data != nil && r.Data.IsInChat != nil && *r.Data.IsInChat
		return r.ApiResp, r.CodeError, nil
	})
	return in, err
}

// Sight is what can be seen of a person.
type Sight string

// The sights.
const (
	Seen   Sight = "seen"
	Hidden Sight = "hidden" // outside the app's contact range, which says nothing of messages
	Nobody Sight = "nobody" // the id is nobody's, or another app's
)

// codeHidden is Feishu's answer about somebody outside the app's contact range.
const codeHidden = 41050

// Person looks for the person with the id of that type (open_id, union_id, user_id).
// It needs one of the scopes for contacts, such as contact:contact.base:readonly.
func (c *Client) Person(ctx context.Context, idType, id string) (Sight, error) {
	err := c.call(ctx, func(ctx context.Context, token larkcore.RequestOptionFunc) (*larkcore.ApiResp, larkcore.CodeError, error) {
		r, err := c.sdk.Contact.V3.User.Get(ctx, larkcontact.NewGetUserReqBuilder().UserIdType(idType).UserId(id).Build(), token)
		if err != nil {
			return nil, larkcore.CodeError{}, err
		}
		return r.ApiResp, r.CodeError, nil
	})
	var e *Error
	switch {
	case err == nil:
		return Seen, nil
	case errors.As(err, &e) && e.Code == codeHidden:
		return Hidden, nil
	case errors.As(err, &e) && e.Class == Target:
		return Nobody, nil
	default:
		return "", err
	}
}

// LacksScope reports whether Feishu refused a call since the app lacks a scope for it.
func LacksScope(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == codeLacksScope
}

// NotInstalled reports whether Feishu refused a call since no version of the app is
// published in the tenant.
func NotInstalled(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == codeNotInstalled
}

const (
	codeLacksScope   = 99991672
	codeNotInstalled = 212100
)
