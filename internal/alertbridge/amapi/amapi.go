// Package amapi makes clients of Alertmanager's API.
package amapi

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"time"

	httptransport "github.com/go-openapi/runtime/client"
	"github.com/go-openapi/strfmt"
	"github.com/prometheus/alertmanager/api/v2/client"

	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// New makes a client of the Alertmanager at address, which may have a path prefix
// and a user with a password. Each call takes no longer than timeout.
func New(address string, timeout time.Duration) (*client.AlertmanagerAPI, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("expected an address such as http://127.0.0.1:9093, got %q", redact.Host(address))
	}
	transport := httptransport.NewWithClient(u.Host, path.Join("/", u.Path, "api/v2"), []string{u.Scheme}, &http.Client{Timeout: timeout})
	if password, ok := u.User.Password(); ok {
		transport.DefaultAuthentication = httptransport.BasicAuth(u.User.Username(), password)
	}
	return client.New(transport, strfmt.Default), nil
}
