package render_test

import (
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"slices"
	"testing"
	"time"
)

// chromeWait bounds one call to the stand-in while a browser takes the machine.
const chromeWait = 10 * time.Second

func nowFunc() time.Time { return now }

// shrink writes the picture anew with at most 256 colours, each the mean of colours
// that are alike, which is enough for text on few grounds.
func shrink(t *testing.T, file string) {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(in)
	_ = in.Close()
	if err != nil {
		t.Fatal(err)
	}
	bounds := picture.Bounds()
	at := func(x, y int) color.RGBA {
		r, g, b, _ := picture.At(x, y).RGBA()
		return color.RGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 255}
	}
	type sum struct{ r, g, b, n int }
	alike := map[color.RGBA]*sum{}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			c := at(x, y)
			key := color.RGBA{c.R >> 4, c.G >> 4, c.B >> 4, 255}
			if alike[key] == nil {
				alike[key] = &sum{}
			}
			s := alike[key]
			s.r, s.g, s.b, s.n = s.r+int(c.R), s.g+int(c.G), s.b+int(c.B), s.n+1
		}
	}
	var palette color.Palette
	for _, s := range slices.SortedFunc(maps.Values(alike), func(a, b *sum) int { return b.n - a.n }) {
		if len(palette) < 256 {
			palette = append(palette, color.RGBA{uint8(s.r / s.n), uint8(s.g / s.n), uint8(s.b / s.n), 255})
		}
	}
	nearest := map[color.RGBA]uint8{}
	out := image.NewPaletted(bounds, palette)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			c := at(x, y)
			index, known := nearest[c]
			if !known {
				index = uint8(palette.Index(c))
				nearest[c] = index
			}
			out.SetColorIndex(x, y, index)
		}
	}
	small, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(small, out); err != nil {
		t.Fatal(err)
	}
	if err := small.Close(); err != nil {
		t.Fatal(err)
	}
}
