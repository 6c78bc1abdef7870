package confload

import (
	"encoding"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"go.yaml.in/yaml/v3"

	"github.com/fleetwatch/fleetwatch/internal/redact"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[Size]()
	secretType   = reflect.TypeFor[redact.Secret]()
	secretsType  = reflect.TypeFor[[]redact.Secret]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// maxDepth bounds nesting, and with it what an alias that holds itself can do.
const maxDepth = 50

type decoder struct {
	report *Report
	dir    string
	lookup func(string) (string, bool)
	depth  int
}

func (d *decoder) fail(n *yaml.Node, path, format string, args ...any) {
	d.report.refused[path] = true
	d.report.add(n.Line, path, fmt.Sprintf(format, args...))
}

// decode sets value from n, reporting what does not fit.
func (d *decoder) decode(n *yaml.Node, value reflect.Value, path string) {
	if d.depth++; d.depth > maxDepth {
		d.fail(n, path, "nested deeper than %d levels", maxDepth)
		d.depth--
		return
	}
	defer func() { d.depth-- }()
	if _, known := d.report.lines[path]; !known {
		d.report.lines[path] = n.Line
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	if value.Kind() == reflect.Pointer {
		if value.IsNil() {
			value.Set(reflect.New(value.Type().Elem()))
		}
		d.decode(n, value.Elem(), path)
		return
	}
	if d.isScalar(value) {
		d.scalar(n, value, path)
		return
	}
	switch value.Kind() {
	case reflect.Struct:
		d.structure(n, value, path)
	case reflect.Map:
		d.mapping(n, value, path)
	case reflect.Slice:
		d.sequence(n, value, path)
	default:
		panic(fmt.Sprintf("confload: %s has a kind that no configuration uses: %s", path, value.Type()))
	}
}

func (d *decoder) isScalar(value reflect.Value) bool {
	if value.Type() == durationType || value.Type() == sizeType || value.Type() == secretType || value.Addr().Type().Implements(textType) {
		return true
	}
	switch value.Kind() {
	case reflect.Struct, reflect.Map, reflect.Slice:
		return false
	default:
		return true
	}
}

func (d *decoder) structure(n *yaml.Node, value reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "expected a mapping with the keys %s, got %s", strings.Join(keysOf(value.Type()), ", "), kindOf(n))
		return
	}
	fields := fieldsOf(value.Type())
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, child := n.Content[i], n.Content[i+1]
		childPath := join(path, key.Value)
		d.report.lines[childPath] = key.Line
		if seen[key.Value] {
			d.fail(key, childPath, "key stands twice; keep one")
			continue
		}
		seen[key.Value] = true
		if index, ok := fields[key.Value]; ok {
			d.decode(child, value.Field(index), childPath)
			continue
		}
		if base, isFile := strings.CutSuffix(key.Value, "_file"); isFile {
			if index, ok := fields[base]; ok && isSecret(value.Field(index).Type()) {
				if hasKey(n, base) {
					d.fail(key, childPath, "expected either %s or %s, found both", base, key.Value)
					continue
				}
				d.secretFile(child, value.Field(index), childPath)
				continue
			}
		}
		d.fail(key, childPath, "unknown key; %s", nearest(key.Value, keysOf(value.Type())))
	}
}

func (d *decoder) mapping(n *yaml.Node, value reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "expected a mapping, got %s", kindOf(n))
		return
	}
	result := reflect.MakeMap(value.Type())
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, child := n.Content[i], n.Content[i+1]
		childPath := join(path, key.Value)
		d.report.lines[childPath] = key.Line
		name := reflect.ValueOf(key.Value).Convert(value.Type().Key())
		if result.MapIndex(name).IsValid() {
			d.fail(key, childPath, "key stands twice; keep one")
			continue
		}
		element := reflect.New(value.Type().Elem()).Elem()
		d.decode(child, element, childPath)
		result.SetMapIndex(name, element)
	}
	value.Set(result)
}

func (d *decoder) sequence(n *yaml.Node, value reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n, path, "expected a list, got %s", kindOf(n))
		return
	}
	result := reflect.MakeSlice(value.Type(), len(n.Content), len(n.Content))
	for i, child := range n.Content {
		d.decode(child, result.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
	value.Set(result)
}

func (d *decoder) scalar(n *yaml.Node, value reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		d.fail(n, path, "expected %s, got %s", wantOf(value), kindOf(n))
		return
	}
	text, err := expand(n.Value, d.lookup)
	if err != nil {
		d.fail(n, path, "%v", err)
		return
	}
	if text == "" && n.Value != "" && value.Kind() != reflect.String {
		return // ${VAR:-} that yields nothing leaves the default
	}
	if err := set(value, text); err != nil {
		if isSecret(value.Type()) {
			err = fmt.Errorf("expected %s", wantOf(value))
		}
		d.fail(n, path, "%v", err)
	}
}

// set parses text into value; the error says what was expected.
func set(value reflect.Value, text string) error {
	wrong := func() error { return fmt.Errorf("expected %s, got %q", wantOf(value), text) }
	switch value.Type() {
	case durationType:
		v, err := ParseDuration(text)
		value.SetInt(int64(v))
		return err
	case sizeType:
		v, err := ParseSize(text)
		value.SetInt(int64(v))
		return err
	default:
	}
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](value.Addr()); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch value.Kind() {
	case reflect.String:
		value.SetString(text)
	case reflect.Bool:
		v, err := strconv.ParseBool(text)
		if err != nil {
			return wrong()
		}
		value.SetBool(v)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v, err := strconv.ParseInt(text, 10, value.Type().Bits())
		if err != nil {
			return wrong()
		}
		value.SetInt(v)
	case reflect.Float32, reflect.Float64:
		v, err := strconv.ParseFloat(text, value.Type().Bits())
		if err != nil || v-v != 0 { // NaN and infinities are no settings
			return wrong()
		}
		value.SetFloat(v)
	default:
		panic("confload: no configuration uses " + value.Type().String())
	}
	return nil
}

func (d *decoder) secretFile(n *yaml.Node, value reflect.Value, path string) {
	var name Path
	d.scalar(n, reflect.ValueOf(&name).Elem(), path)
	if name == "" {
		return
	}
	name.Rebase(d.dir)
	data, err := os.ReadFile(filepath.Clean(string(name)))
	if err != nil {
		d.fail(n, path, "expected a readable file that holds the secret: %v", err)
		return
	}
	text := strings.TrimSpace(string(data))
	if value.Type() == secretsType {
		for line := range strings.Lines(text) {
			value.Set(reflect.Append(value, reflect.ValueOf(redact.Secret(strings.TrimSpace(line)))))
		}
		return
	}
	if strings.ContainsAny(text, "\r\n") {
		d.fail(n, path, "expected one line in %s", name)
		return
	}
	if text == "" {
		d.fail(n, path, "expected a secret in %s, the file is empty", name)
		return
	}
	value.SetString(text)
}

func isSecret(t reflect.Type) bool { return t == secretType || t == secretsType }

func hasKey(n *yaml.Node, key string) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return true
		}
	}
	return false
}

func join(path, key string) string {
	if strings.ContainsAny(key, ".[]") || key == "" {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// nearest says which known key was probably meant.
func nearest(key string, known []string) string {
	best, distance := "", len(key)/2+1
	for _, k := range known {
		if n := levenshtein.ComputeDistance(key, k); n < distance || (n == distance && best == "") {
			best, distance = k, n
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "expected one of " + strings.Join(known, ", ")
}
