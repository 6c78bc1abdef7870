package request

import (
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func spliced(t *testing.T, r *Request, native string) string {
	t.Helper()
	body := r.Splice(native)
	reader := body.Reader(nil)
	raw, err := io.ReadAll(iotest.OneByteReader(reader))
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(raw)) != body.Size() {
		t.Errorf("Size is %d, %d bytes came", body.Size(), len(raw))
	}
	return string(raw)
}

// chat is what a chat completion's body may hold.
var chat = &Spec{StreamOptions: true, Content: "messages"}

func TestSplice(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"plain", `{"model":"m","messages":[]}`, `{"model":"n/\"x","messages":[]}`},
		{"bytes stay", "{ \"x\" : 1e5 ,\n \"model\" : \"m\" ,\"\\u0061\":[ 1 ] }", "{ \"x\" : 1e5 ,\n \"model\" : \"n/\\\"x\" ,\"\\u0061\":[ 1 ] }"},
		{"escaped key", `{"mod\u0065l":"m"}`, `{"mod\u0065l":"n/\"x"}`},
		{"stream", `{"model":"m","stream":true}`, `{"model":"n/\"x","stream_options":{"include_usage":true},"stream":true}`},
		{"stream false", `{"model":"m","stream":false}`, `{"model":"n/\"x","stream":false}`},
		{"options empty", `{"model":"m","stream":true,"stream_options":{}}`, `{"model":"n/\"x","stream":true,"stream_options":{"include_usage":true}}`},
		{"options null first", `{"stream_options":null,"model":"m","stream":true}`, `{"stream_options":{"include_usage":true},"model":"n/\"x","stream":true}`},
		{"options filled", `{"model":"m","stream":true,"stream_options":{ "x":1}}`, `{"model":"n/\"x","stream":true,"stream_options":{"include_usage":true, "x":1}}`},
		{"usage asked", `{"model":"m","stream":true,"stream_options":{"include_usage":true}}`, `{"model":"n/\"x","stream":true,"stream_options":{"include_usage":true}}`},
		{"usage refused", `{"model":"m","stream":true,"stream_options":{"include_usage":false}}`, `{"model":"n/\"x","stream":true,"stream_options":{"include_usage":false}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Scan([]byte(c.body), chat)
			if err != nil {
				t.Fatal(err)
			}
			if got := spliced(t, r, `n/"x`); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestScanRefuses(t *testing.T) {
	for _, c := range []struct{ name, body, param, says string }{
		{"not JSON", `{"model":`, "", "not a JSON object"},
		{"an array", `[]`, "", "not a JSON object"},
		{"more behind", `{"model":"m"}{}`, "", "not a JSON object"},
		{"too deep", `{"model":"m","x":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`, "", "too deeply"},
		{"no model", `{}`, "model", "missing"},
		{"empty model", `{"model":""}`, "model", "name of a model"},
		{"model number", `{"model":1}`, "model", "name of a model"},
		{"long model", `{"model":"` + strings.Repeat("m", 300) + `"}`, "model", "name of a model"},
		{"model twice", `{"model":"a","model":"b"}`, "model", "twice"},
		{"model twice, escaped", `{"model":"a","\u006dodel":"b"}`, "model", "twice"},
		{"model in other case", `{"model":"a","MODEL":"b"}`, "model", "twice"},
		{"stream twice", `{"model":"a","stream":true,"\u0073tream":false}`, "stream", "twice"},
		{"stream folded", `{"model":"a","ſtream":true}`, "stream", "twice"},
		{"stream text", `{"model":"a","stream":"yes"}`, "stream", "true or false"},
		{"options text", `{"model":"a","stream_options":"x"}`, "stream_options", "object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Scan([]byte(c.body), chat)
			var re *Error
			if !errors.As(err, &re) || re.Param != c.param || !strings.Contains(re.Message, c.says) {
				t.Errorf("got %v, want one about %q that says %q", err, c.param, c.says)
			}
		})
	}
}

func TestScanReads(t *testing.T) {
	responses := &Spec{Content: "input", Previous: true}
	embeddings := &Spec{NeverStreams: true}
	for _, c := range []struct {
		name, body string
		spec       *Spec
		want       Request
		modalities []Modality
	}{
		{"nothing more", `{"model":"m"}`, chat, Request{Model: "m"}, nil},
		{"the larger bound", `{"model":"m","max_tokens":5,"max_completion_tokens":70,"max_tokens":6}`, chat, Request{Model: "m", MaxTokens: 70}, nil},
		{"choices", `{"model":"m","n":3}`, chat, Request{Model: "m", Choices: 3}, nil},
		{"more that are thrown away", `{"model":"m","best_of":5,"n":2}`, chat, Request{Model: "m", Choices: 5}, nil},
		{"choices that are none", `{"model":"m","n":0,"\u006e":-1,"N":"2","best_of":null}`, chat, Request{Model: "m"}, nil},
		{"absurdly many choices", `{"model":"m","n":99999999}`, chat, Request{Model: "m", Choices: 1024}, nil},
		{"a bound that is none", `{"model":"m","max_tokens":-5,"max_output_tokens":"9"}`, chat, Request{Model: "m"}, nil},
		{"effort", `{"model":"m","reasoning_effort":"high"}`, chat, Request{Model: "m", Reasoning: true}, nil},
		{"no effort", `{"model":"m","reasoning_effort":"none","reasoning":{"effort":null},"thinking":{"type":"disabled"}}`, chat, Request{Model: "m"}, nil},
		{"thinking", `{"model":"m","thinking":{"type":"enabled","budget_tokens":9}}`, chat, Request{Model: "m", Reasoning: true}, nil},
		{"reasoning", `{"model":"m","reasoning":{"effort":"low"}}`, responses, Request{Model: "m", Reasoning: true}, nil},
		{"previous", `{"model":"m","previous_response_id":"resp_1","background":false}`, responses, Request{Model: "m", Previous: "resp_1"}, nil},
		{"previous elsewhere", `{"model":"m","previous_response_id":"resp_1","background":true}`, chat, Request{Model: "m"}, nil},
		{"never streams", `{"model":"m","stream":true}`, embeddings, Request{Model: "m"}, nil},
		{"parts", `{"model":"m","messages":[{"content":[{"type":"text"},{"type":"image_url"},{"\u0074ype":"input_audio"},{"type":"image_url"}]}]}`, chat, Request{Model: "m"}, []Modality{Image, Audio}},
		{"a tool's result", `{"model":"m","messages":[{"content":[{"type":"tool_result","content":[{"type":"document"}]}]}]}`, chat, Request{Model: "m"}, []Modality{File}},
		{"a tool's arguments", `{"model":"m","tools":[{"type":"image"}],"messages":[{"content":[{"type":"tool_use","input":{"type":"image","content":[{"type":"video"}]}}, 3]}]}`, chat, Request{Model: "m"}, nil},
		{"input", `{"model":"m","input":[{"type":"message","content":[{"type":"input_image"}]},{"type":"function_call_output","output":[{"type":"input_file"}]}]}`, responses, Request{Model: "m"}, []Modality{Image, File}},
		{"text input", `{"model":"m","input":"\"type\":\"image\""}`, responses, Request{Model: "m"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Scan([]byte(c.body), c.spec)
			if err != nil {
				t.Fatal(err)
			}
			got := Request{Model: r.Model, Stream: r.Stream, MaxTokens: r.MaxTokens, Choices: r.Choices, Reasoning: r.Reasoning, Previous: r.Previous}
			if !reflect.DeepEqual(got, c.want) || !slices.Equal(r.Modalities(), c.modalities) {
				t.Errorf("got %+v and %v", got, r.Modalities())
			}
		})
	}
	if _, err := Scan([]byte(`{"model":"m","background":true}`), responses); err == nil {
		t.Error("an answer in the background is accepted")
	}
}

// FuzzScan: what Scan accepts equals, spliced, the body that encoding/json makes of
// the same values with the model replaced and the option added.
func FuzzScan(f *testing.F) {
	for _, s := range []string{
		`{"model":"m","stream":true}`, `{"stream_options":{"a":1},"model":"m","stream":true}`, `{"stream_options":null,"stream":true,"model":"m","x":[1]}`,
		`{"mod\u0065l":"m","stream":false}`, `{"model":"a","model":"b"}`, `{"model":"m","stream":true,"stream_options":{"include_usage":null}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := Scan(body, chat)
		if err != nil {
			return
		}
		var want map[string]any
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("Scan(%q) accepts what encoding/json does not: %v", body, err)
		}
		if want["model"] != r.Model || (want["stream"] == true) != r.Stream {
			t.Fatalf("Scan(%q) = %+v", body, r)
		}
		want["model"] = "native"
		if got := r.Modalities(); len(got) > len(Modalities()) {
			t.Fatalf("Modalities of %q are %v", body, got)
		}
		if r.AddsUsage() {
			options, _ := want["stream_options"].(map[string]any)
			if options == nil {
				options = map[string]any{}
			}
			options["include_usage"] = true
			want["stream_options"] = options
		}
		var got map[string]any
		text := spliced(t, r, "native")
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%q becomes %q: %v", body, text, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q becomes %q", body, text)
		}
	})
}

func BenchmarkScanAndSplice1KB(b *testing.B) {
	body := []byte(`{"model":"m","stream":true,"messages":[{"role":"user","content":"` + strings.Repeat("x", 950) + `"}]}`)
	b.ReportAllocs()
	for b.Loop() {
		r, err := Scan(body, chat)
		if err != nil {
			b.Fatal(err)
		}
		if s := r.Splice("native"); s.Size() == 0 {
			b.Fatal("empty")
		}
	}
}
