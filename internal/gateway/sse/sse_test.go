package sse

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// all reads every frame, and what was wrong at the end.
func all(from io.Reader, limit int) (frames []Frame, err error) {
	r := NewReader(from, limit)
	for {
		f, err := r.Next()
		if errors.Is(err, io.EOF) {
			return frames, nil
		}
		if err != nil {
			return frames, err
		}
		f.Raw, f.Data = bytes.Clone(f.Raw), bytes.Clone(f.Data)
		frames = append(frames, f)
	}
}

func TestFrames(t *testing.T) {
	for _, c := range []struct{ name, stream, want string }{
		{"lf", "data: a\n\ndata: b\n\n", "|a |b"},
		{"crlf", "data: a\r\n\r\ndata: b\r\n\r\n", "|a |b"},
		{"cr", "data: a\r\rdata: b\r\r", "|a |b"},
		{"mixed", "data: a\r\n\ndata: b\n\r\ndata:c\r\n\r\n", "|a |b |c"},
		{"named", "event: ping\ndata: {}\n\n", "ping|{}"},
		{"several lines", "data: a\ndata\ndata:  b\n\n", "|a\n\n b"},
		{"empty lines first", "data\ndata\ndata: a\n\ndata: b\ndata: c\n\n", "|\n\na |b\nc"},
		{"a byte order mark", "\ufeffdata: a\n\n", "|a"},
		{"comment", ": ping\n\ndata: a\n\n", "| |a"},
		{"no space", "data:a\n\n", "|a"},
		{"blank lines between", "\n\n\r\n\r\rdata: a\n\n\n\n", "|a"},
		{"unended", "data: a\n\ndata: [DONE]", "|a |[DONE]"},
		{"ended by one line", "data: [DONE]\n", "|[DONE]"},
		{"nothing", "", ""},
		{"other fields", "id: 7\nretry: 3\nfoo\ndata: a\n\n", "|a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, from := range map[string]io.Reader{
				"whole": strings.NewReader(c.stream), "bytewise": iotest.OneByteReader(strings.NewReader(c.stream)), "with the end": iotest.DataErrReader(strings.NewReader(c.stream)),
			} {
				frames, err := all(from, 1<<20)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				var got []string
				for _, f := range frames {
					got = append(got, f.Event+"|"+string(f.Data))
				}
				if strings.Join(got, " ") != c.want {
					t.Errorf("%s: got %q, want %q", name, got, c.want)
				}
			}
		})
	}
}

func TestAFrameComesBeforeTheStreamEnds(t *testing.T) {
	for _, ending := range []string{"\n\n", "\r\n\r\n", "\r\r"} {
		in, out := io.Pipe()
		r := NewReader(in, 1<<10)
		go func() { _, _ = io.WriteString(out, "data: a"+ending) }()
		f, err := r.Next()
		if err != nil || string(f.Data) != "a" {
			t.Errorf("%q: %q, %v", ending, f.Data, err)
		}
		out.Close()
	}
}

func TestCutAndTooLarge(t *testing.T) {
	broken := errors.New("broken")
	frames, err := all(io.MultiReader(strings.NewReader("data: a\n\ndata: b"), iotest.ErrReader(broken)), 1<<10)
	if len(frames) != 1 || !errors.Is(err, broken) {
		t.Errorf("cut: %d frames, %v", len(frames), err)
	}
	frames, err = all(strings.NewReader("data: a\n\ndata: "+strings.Repeat("b", 5000)+"\n\n"), 5000)
	if len(frames) != 1 || !errors.Is(err, ErrFrameTooLarge) {
		t.Errorf("too large: %d frames, %v", len(frames), err)
	}
}

// FuzzReader: frames do not depend on how the stream is cut into reads, and hold
// every byte but white space between them.
func FuzzReader(f *testing.F) {
	f.Add([]byte("data: a\r\n\r\nevent: x\ndata: b\n\n: c\r\r"))
	f.Add([]byte("\r\ndata: a\r\r\ndata: b"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		whole, errWhole := all(bytes.NewReader(stream), 1<<16)
		bytewise, errBytes := all(iotest.OneByteReader(bytes.NewReader(stream)), 1<<16)
		if (errWhole == nil) != (errBytes == nil) || len(whole) != len(bytewise) {
			t.Fatalf("%q: %d frames (%v), bytewise %d (%v)", stream, len(whole), errWhole, len(bytewise), errBytes)
		}
		var kept []byte
		for i := range whole {
			if !bytes.Equal(whole[i].Data, bytewise[i].Data) || whole[i].Event != bytewise[i].Event {
				t.Fatalf("%q: frame %d is %+v, bytewise %+v", stream, i, whole[i], bytewise[i])
			}
			kept = append(kept, whole[i].Raw...)
		}
		drop := func(b []byte) []byte { return bytes.Join(bytes.Fields(b), nil) }
		if errWhole == nil && !bytes.Equal(drop(kept), drop(stream)) {
			t.Fatalf("%q: the frames hold %q", stream, kept)
		}
	})
}

// BenchmarkLargeFrame: a frame of 2 MB that comes in pieces of 1 KB.
func BenchmarkLargeFrame(b *testing.B) {
	stream := []byte("data: " + strings.Repeat("x", 2<<20) + "\n\n")
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		if _, err := NewReader(pieces{bytes.NewReader(stream)}, 8<<20).Next(); err != nil {
			b.Fatal(err)
		}
	}
}

type pieces struct{ from io.Reader }

func (p pieces) Read(b []byte) (int, error) { return p.from.Read(b[:min(len(b), 1<<10)]) }
