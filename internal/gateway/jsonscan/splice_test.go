package jsonscan

import (
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestSplice(t *testing.T) {
	text := []byte("0123456789")
	for _, c := range []struct {
		edits []Edit
		want  string
	}{
		{nil, "0123456789"},
		{[]Edit{{Span{0, 2}, []byte("ab")}}, "ab23456789"},
		{[]Edit{{Span{2, 2}, []byte("x")}, {Span{9, 10}, nil}}, "01x2345678"},
	} {
		s := Splice(text, c.edits...)
		for name, r := range map[string]io.Reader{"whole": s.Reader(nil), "bytewise": iotest.OneByteReader(s.Reader(nil))} {
			got, err := io.ReadAll(r)
			if err != nil || string(got) != c.want || s.Size() != int64(len(c.want)) {
				t.Errorf("%s: got %q of %d, %v; want %q", name, got, s.Size(), err, c.want)
			}
		}
	}
}

func TestAClosedReaderGivesNothing(t *testing.T) {
	s, told := Splice([]byte("text")), 0
	r := s.Reader(func() { told++ })
	for range 2 {
		if err := r.Close(); err != nil || told != 1 {
			t.Fatalf("%v, told %d times", err, told)
		}
	}
	if n, err := r.Read(make([]byte, 8)); n != 0 || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("read %d bytes, %v", n, err)
	}
}
