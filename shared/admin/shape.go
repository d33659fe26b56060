package admin

import (
	"encoding"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/shared/fault"
)

// decode makes an object of parse into a T, over what into holds already. What
// does not fit is refused with fault.Invalid and its path; the decoder of the
// standard library would not say where, and would take names in any case.
func decode[T any](object map[string]any, into *T) error {
	if err := fits("", object, reflect.TypeFor[T]()); err != nil {
		return err
	}
	text, err := json.Marshal(object)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "the body cannot be read")
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fault.Wrap(fault.Invalid, err, "the body cannot be read")
	}
	return nil
}

// encode makes a value into what parse would make of its JSON.
func encode(v any) (map[string]any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "the record cannot be encoded")
	}
	tree, err := parse(text)
	object, ok := tree.(map[string]any)
	if err != nil || !ok {
		return nil, fault.Wrap(fault.Internal, err, "the record is no object")
	}
	return object, nil
}

// fits errs unless a value of parse can be decoded into a t. A member that is
// null counts as absent.
func fits(path string, v any, t reflect.Type) error {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch reflect.New(t).Interface().(type) {
	case json.Unmarshaler:
		return reads(path, v, t)
	case encoding.TextUnmarshaler:
		t = reflect.TypeFor[string]()
	}
	switch t.Kind() {
	case reflect.Struct:
		return object(path, v, t)
	case reflect.Map:
		return mapping(path, v, t)
	case reflect.Slice:
		return list(path, v, t)
	case reflect.String:
		if _, ok := v.(string); !ok {
			return fault.At(path, "must be a string, not %s", nameOf(v))
		}
	case reflect.Bool:
		if _, ok := v.(bool); !ok {
			return fault.At(path, "must be true or false, not %s", nameOf(v))
		}
	default:
		return whole(path, v, t)
	}
	return nil
}

// reads asks the type itself.
func reads(path string, v any, t reflect.Type) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "the body cannot be read")
	}
	err = json.Unmarshal(text, reflect.New(t).Interface())
	if err == nil && v != nil {
		return nil
	}
	if t == reflect.TypeFor[time.Time]() {
		return fault.At(path, "%s is no time; write it as RFC 3339, such as 2026-01-31T12:00:00Z", text)
	}
	return fault.At(path, "%s is not accepted: %v", text, err)
}

func object(path string, v any, t reflect.Type) error {
	members, ok := v.(map[string]any)
	if !ok {
		return fault.At(path, "must be an object, not %s", nameOf(v))
	}
	fields := fieldsOf(t)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		m := members[name]
		field, ok := fields[name]
		switch {
		case !ok:
			return fault.At(member(path, name), "there is no such field; there are %s", strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
		case m == nil:
		default:
			if err := fits(member(path, name), m, field); err != nil {
				return err
			}
		}
	}
	return nil
}

func mapping(path string, v any, t reflect.Type) error {
	members, ok := v.(map[string]any)
	if !ok {
		return fault.At(path, "must be an object, not %s", nameOf(v))
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		m := members[name]
		if m == nil { // of a merge patch
			continue
		}
		if err := fits(member(path, name), m, t.Elem()); err != nil {
			return err
		}
	}
	return nil
}

func list(path string, v any, t reflect.Type) error {
	elements, ok := v.([]any)
	if !ok {
		return fault.At(path, "must be an array, not %s", nameOf(v))
	}
	for i, e := range elements {
		if err := fits(index(path, i), e, t.Elem()); err != nil {
			return err
		}
	}
	return nil
}

func whole(path string, v any, t reflect.Type) error {
	n, ok := v.(json.Number)
	if !ok {
		return fault.At(path, "must be a whole number, not %s", nameOf(v))
	}
	if _, err := strconv.ParseInt(n.String(), 10, t.Bits()); err != nil {
		return fault.At(path, "%s is no whole number, or too large", n)
	}
	return nil
}

// fieldsOf are the types of a struct's fields by their JSON names, those of
// embedded structs among them.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type)
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.Anonymous && name != "" && name != "-" {
			fields[name] = f.Type
		}
	}
	return fields
}

// nameOf is what JSON calls a value of parse.
func nameOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case map[string]any:
		return "an object"
	case []any:
		return "an array"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	default:
		return "a number"
	}
}

// readOnly refuses the members of a body that are shown in a V but are no field
// of an F: whoever sends back what it read is told which to leave out.
func readOnly[F, V any](body map[string]any) error {
	writable, shown := fieldsOf(reflect.TypeFor[F]()), fieldsOf(reflect.TypeFor[V]())
	for _, name := range slices.Sorted(maps.Keys(body)) {
		_, may := writable[name]
		if _, is := shown[name]; is && !may {
			return fault.At(name, "cannot be set; leave it out")
		}
	}
	return nil
}
