package confload

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Path is a file path. After Load it is absolute; a leading ~/ is the home
// folder. Empty stays empty.
type Path string

// Rebase implements [Rebaser].
func (p *Path) Rebase(dir string) {
	if *p == "" || filepath.IsAbs(string(*p)) {
		return
	}
	if rest, ok := strings.CutPrefix(string(*p), "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			*p = Path(filepath.Join(home, rest))
			return
		}
	}
	*p = Path(filepath.Join(dir, string(*p)))
}

// Size is a number of bytes, written as 64KiB, 32MiB, 1GiB, 10MB or a bare
// number.
type Size int64

var sizeUnits = []struct {
	suffix string
	factor int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1}}

// ParseSize parses the forms of [Size].
func ParseSize(text string) (Size, error) {
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/u.factor {
			break
		}
		return Size(n * u.factor), nil
	}
	return 0, fmt.Errorf("expected a size like 64KiB or 32MiB, got %q", text)
}

// String returns the size in the largest unit that divides it.
func (s Size) String() string {
	for _, i := range []int{3, 2, 1, 0} {
		if u := sizeUnits[i]; s != 0 && int64(s)%u.factor == 0 {
			return strconv.FormatInt(int64(s)/u.factor, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalYAML prints the size as it may be written.
func (s Size) MarshalYAML() (any, error) { return s.String(), nil }

// ParseDuration parses Go durations (1h30m, 250ms), whole days and weeks (30d,
// 2w, 1d12h), and bare numbers, which are seconds. It refuses negative values.
func ParseDuration(text string) (time.Duration, error) {
	bad := fmt.Errorf("expected a duration like 30s, 10m or 7d (a bare number is seconds), got %q", text)
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		if !(seconds >= 0) || seconds > float64(math.MaxInt64/int64(time.Second)) {
			return 0, bad
		}
		return time.Duration(seconds * float64(time.Second)), nil
	}
	var total time.Duration
	rest := text
	for _, u := range []struct {
		name string
		unit time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 || !strings.HasPrefix(rest[digits:], u.name) {
			continue
		}
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil || n > int64(math.MaxInt64/u.unit) {
			return 0, bad
		}
		total, rest = total+time.Duration(n)*u.unit, rest[digits+len(u.name):]
	}
	if rest == "" && text != "" {
		return total, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || total > math.MaxInt64-d {
		return 0, bad
	}
	return total + d, nil
}

// expand replaces ${VAR}, ${VAR:-default} and $$ in text. A $ before anything
// else stands for itself.
func expand(text string, lookup func(string) (string, bool)) (string, error) {
	var b strings.Builder
	for {
		i := strings.IndexByte(text, '$')
		if i < 0 || i+1 == len(text) {
			b.WriteString(text)
			return b.String(), nil
		}
		b.WriteString(text[:i])
		switch text[i+1] {
		case '$':
			b.WriteByte('$')
			text = text[i+2:]
		case '{':
			end := strings.IndexByte(text[i:], '}')
			if end < 0 {
				return "", fmt.Errorf("expected } after ${")
			}
			value, err := variable(text[i+2:i+end], lookup)
			if err != nil {
				return "", err
			}
			b.WriteString(value)
			text = text[i+end+1:]
		default:
			b.WriteByte('$')
			text = text[i+1:]
		}
	}
}

func variable(expression string, lookup func(string) (string, bool)) (string, error) {
	name, fallback, hasDefault := strings.Cut(expression, ":-")
	if name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		return "", fmt.Errorf("expected ${NAME} or ${NAME:-default}, got ${%s}", expression)
	}
	value, set := lookup(name)
	switch {
	case hasDefault && value == "":
		return fallback, nil
	case !set:
		return "", fmt.Errorf("environment variable %s is not set; set it, or write ${%s:-default}", name, name)
	}
	return value, nil
}
