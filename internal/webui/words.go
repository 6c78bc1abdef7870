package webui

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/visible"
)

// longest is how many characters of what comes from outside a page shows.
const longest = 120

// Ago words a time span in the past for people.
func Ago(lang string, d time.Duration) string {
	units := []struct {
		span   time.Duration
		zh, en string
	}{{24 * time.Hour, "天前", "d ago"}, {time.Hour, "小时前", "h ago"}, {time.Minute, "分钟前", "min ago"}, {time.Second, "秒前", "s ago"}}
	for _, unit := range units {
		if n := d / unit.span; n > 0 {
			if lang == "en" {
				return fmt.Sprintf("%d %s", n, unit.en)
			}
			return fmt.Sprintf("%d %s", n, unit.zh)
		}
	}
	if lang == "en" {
		return "just now"
	}
	return "刚刚"
}

// Span words how long something lasts, by its two largest units.
func Span(lang string, d time.Duration) string {
	d = max(d, 0).Truncate(time.Second)
	units := []struct {
		span   time.Duration
		zh, en string
	}{{24 * time.Hour, "天", "d"}, {time.Hour, "小时", "h"}, {time.Minute, "分钟", "min"}, {time.Second, "秒", "s"}}
	var parts []string
	for _, unit := range units {
		n := d / unit.span
		d %= unit.span
		if n == 0 && len(parts) == 0 && unit.span > time.Second {
			continue
		}
		word := unit.zh
		if lang == "en" {
			word = unit.en
		}
		if parts = append(parts, fmt.Sprintf("%d %s", n, word)); len(parts) == 2 {
			break
		}
	}
	return strings.Join(parts, " ")
}

// Left is a countdown such as 1:05 or 2:00:00; 0:00 where nothing is left. A page with
// data-until counts it down.
func Left(d time.Duration) string {
	seconds := int64((max(d, 0) + time.Second - 1) / time.Second)
	if seconds < 3600 {
		return fmt.Sprintf("%d:%02d", seconds/60, seconds%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)
}

// Short is text from outside as a page shows it: in one line, without what cannot be
// seen, and at most so many characters, the last of which tells that there were more.
func Short(text string, most int) string {
	// What is cut off is not looked at: no character has more than four bytes.
	cut := len(text) > 4*most
	if cut {
		text = strings.ToValidUTF8(text[:4*most], "")
	}
	runes := []rune(strings.ReplaceAll(visible.Text(text), "\n", " "))
	if cut || len(runes) > most {
		return string(runes[:min(len(runes), most-1)]) + "…"
	}
	return string(runes)
}

// Group writes a count with its digits in threes.
func Group(n int64) string {
	text := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, text = "-", text[1:]
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return sign + text
}
