package redact_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/fleetwatch/fleetwatch/internal/redact"
)

const hidden = "s3cr3t-value"

func TestSecretPrintsNowhere(t *testing.T) {
	type holder struct {
		Token redact.Secret `json:"token" yaml:"token"`
	}
	h := holder{Token: hidden}
	var logs bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&logs, nil))
	log.Info("holder", "whole", h, "token", h.Token)
	text := slog.New(slog.NewTextHandler(&logs, nil))
	text.Info("holder", "whole", h, "token", h.Token)
	js, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	ys, err := yaml.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	outputs := map[string]string{
		"%v": fmt.Sprintf("%v", h), "%+v": fmt.Sprintf("%+v", h), "%#v": fmt.Sprintf("%#v", h),
		"%s": fmt.Sprintf("%s", h.Token), "%q": fmt.Sprintf("%q", h.Token), "%x": fmt.Sprintf("%x", h.Token),
		"json": string(js), "yaml": string(ys), "slog": logs.String(),
	}
	for name, out := range outputs {
		if strings.Contains(out, hidden) || strings.Contains(out, fmt.Sprintf("%x", hidden)) {
			t.Errorf("%s shows the secret: %s", name, out)
		}
		if !strings.Contains(out, "secret>") && !strings.Contains(out, "secret\\u003e") {
			t.Errorf("%s does not show the mask: %s", name, out)
		}
	}
}

func TestSecretEqual(t *testing.T) {
	for _, c := range []struct {
		secret    redact.Secret
		presented string
		want      bool
	}{
		{"", "", false}, {"", "x", false}, {"x", "", false}, {"x", "x", true}, {"x", "xx", false}, {"abc", "abd", false},
	} {
		if got := c.secret.Equal(c.presented); got != c.want {
			t.Errorf("Secret(%q).Equal(%q) = %v, want %v", string(c.secret), c.presented, got, c.want)
		}
	}
}

func TestErrorHidesURL(t *testing.T) {
	cause := &url.Error{Op: "Post", URL: "https://open.feishu.cn/open-apis/bot/v2/hook/" + hidden + "?k=" + hidden, Err: io.ErrUnexpectedEOF}
	err := redact.Error(fmt.Errorf("sending: %w", cause))
	if strings.Contains(err.Error(), hidden) {
		t.Errorf("error shows the hook: %v", err)
	}
	if !strings.Contains(err.Error(), "https://open.feishu.cn") || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error lost its host or its cause: %v", err)
	}
	if got := redact.Error(errors.New("bad key "+hidden), hidden).Error(); strings.Contains(got, hidden) {
		t.Errorf("error shows a known secret: %v", got)
	}
	if redact.Error(nil) != nil {
		t.Error("Error(nil) is not nil")
	}
}
