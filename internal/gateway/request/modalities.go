package request

import (
	"bytes"
	"slices"

	"github.com/fleetwatch/fleetwatch/internal/gateway/jsonscan"
)

// Modality is a kind of input.
type Modality string

// The modalities beside text, which every model reads.
const (
	Image Modality = "image"
	Audio Modality = "audio"
	Video Modality = "video"
	File  Modality = "file"
)

// Modalities lists every modality that a request can need.
func Modalities() []Modality { return []Modality{Image, Audio, Video, File} }

// needs returns what a content part of the type needs; "" = no more than text.
func needs(kind string) Modality {
	switch kind {
	case "image_url", "image", "input_image":
		return Image
	case "input_audio", "audio":
		return Audio
	case "video_url", "video", "input_video":
		return Video
	case "file", "document", "input_file":
		return File
	default:
		return ""
	}
}

// Modalities returns what the content needs beside text, each once. It looks at the
// types of content parts, in messages and in the results of tools; what else a body
// holds, such as arguments of tools, may look alike and means nothing.
func (r *Request) Modalities() []Modality {
	raw := r.content.Of(r.body)
	// Most bodies are text alone, and are not walked again to find that out.
	if !bytes.Contains(raw, []byte(`"type"`)) && !bytes.Contains(raw, []byte(`\u00`)) { // letters of the key may be escaped
		return nil
	}
	var found []Modality
	r.elements(raw, 0, func(kind string) {
		if m := needs(kind); m != "" && !slices.Contains(found, m) {
			found = append(found, m)
		}
	})
	return found
}

// maxNesting is how deep content stands in content: messages, their parts, and the
// parts of a tool's result.
const maxNesting = 3

// elements tells the types of the elements of an array, and of those in their content.
func (r *Request) elements(raw []byte, depth int, part func(kind string)) {
	if depth > maxNesting || len(raw) == 0 || raw[0] != '[' {
		return
	}
	// The body was found to be JSON, so a walk of a part of it fails only where an
	// element is not an object, which holds nothing.
	_ = jsonscan.Array(raw, func(element jsonscan.Span) error {
		object := element.Of(raw)
		if len(object) == 0 || object[0] != '{' {
			return nil
		}
		return jsonscan.Object(object, func(key, value jsonscan.Span) error {
			switch jsonscan.Key(object, key) {
			case "type":
				if kind, ok := jsonscan.Text(object, value); ok {
					part(kind)
				}
			case "content", "output":
				r.elements(value.Of(object), depth+1, part)
			}
			return nil
		})
	})
}
