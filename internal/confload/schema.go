package confload

import (
	"bytes"
	"encoding"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Masked returns the configuration as YAML with every secret masked.
func Masked(config any) ([]byte, error) {
	var root yaml.Node
	if err := root.Encode(config); err != nil {
		return nil, fmt.Errorf("printing configuration: %w", err)
	}
	maskURLs(&root)
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(&root); err != nil {
		return nil, fmt.Errorf("printing configuration: %w", err)
	}
	return b.Bytes(), nil
}

// userInfo is what may stand in front of the host in a URL: a password.
var userInfo = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*://)[^/?#]*@`)

// maskURLs hides who logs in, and how, in every URL.
func maskURLs(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		n.Value = userInfo.ReplaceAllString(n.Value, "${1}<secret>@")
	}
	for _, child := range n.Content {
		maskURLs(child)
	}
}

// Keys returns the path of every leaf key of a configuration type, sorted:
// server.listen, receivers[].name, severity.*[]. Documentation tests use it.
func Keys(config any) []string {
	var keys []string
	leaves(reflect.TypeOf(config), "", &keys)
	slices.Sort(keys)
	return slices.Compact(keys)
}

func leaves(t reflect.Type, path string, keys *[]string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		*keys = append(*keys, path)
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		for name, index := range fieldsOf(t) {
			leaves(t.Field(index).Type, join(path, name), keys)
		}
	case reflect.Slice:
		leaves(t.Elem(), path+"[]", keys)
	case reflect.Map:
		leaves(t.Elem(), path+".*", keys)
	default:
		*keys = append(*keys, path)
	}
}

func fieldsOf(t reflect.Type) map[string]int {
	fields := map[string]int{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || name == "" || name == "-" {
			continue
		}
		fields[name] = i
	}
	return fields
}

func keysOf(t reflect.Type) []string {
	fields := fieldsOf(t)
	keys := make([]string, 0, len(fields))
	for name, index := range fields {
		keys = append(keys, name)
		if isSecret(t.Field(index).Type) {
			keys = append(keys, name+"_file")
		}
	}
	slices.Sort(keys)
	return keys
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
		return fmt.Sprintf("%q", n.Value)
	}
}

func wantOf(value reflect.Value) string {
	switch value.Type() {
	case durationType:
		return "a duration like 30s, 10m or 7d"
	case sizeType:
		return "a size like 64KiB or 32MiB"
	case secretType:
		return "a secret as text"
	default:
	}
	switch value.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Float32, reflect.Float64:
		return "a number"
	default:
		return "text"
	}
}
