package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"

	"sluice/shared/fault"
)

const (
	maxBody  = 1 << 20 // bytes of a request body
	maxDepth = 16      // of arrays and objects in one another
)

// The media types of bodies. A merge patch is RFC 7396; plain JSON is taken for
// one, too.
const (
	plainJSON  = "application/json"
	mergePatch = "application/merge-patch+json"
)

// object reads the body, which must be a JSON object in one of the media types.
// It errs with fault.Unsupported, TooLarge or Invalid.
func (c *call) object(types ...string) (map[string]any, error) {
	mt, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(types, mt) {
		return nil, fault.New(fault.Unsupported, "the Content-Type %q is not accepted; send application/json", c.r.Header.Get("Content-Type"))
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, fault.New(fault.TooLarge, "the body is larger than %d bytes", tooLarge.Limit)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the body was cut short")
	}
	v, err := parse(body)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, fault.New(fault.Invalid, "the body must be a JSON object, not %s", nameOf(v))
	}
	return object, nil
}

// nothing refuses a body with members, for requests that take none.
func (c *call) nothing() error {
	if c.r.ContentLength == 0 {
		return nil
	}
	object, err := c.object(plainJSON)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		return fault.At(name, "there is no such field: this request takes none")
	}
	return nil
}

// parse reads JSON into maps, slices, strings, json.Numbers, bools and nils. It
// errs with fault.Invalid, also when a name occurs twice in an object.
func parse(body []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	v, err := value(dec, "", maxDepth)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = fault.New(fault.Invalid, "the body has something after its JSON value")
		}
	}
	if err == nil {
		return v, nil
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return nil, f
	}
	return nil, fault.Wrap(fault.Invalid, err, "the body is no valid JSON, at about byte %d", dec.InputOffset())
}

func value(dec *json.Decoder, path string, depth int) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	if depth == 0 {
		return nil, fault.At(path, "is nested more than %d deep", maxDepth)
	}
	if delim == '[' {
		return array(dec, path, depth)
	}
	return members(dec, path, depth)
}

func array(dec *json.Decoder, path string, depth int) (any, error) {
	list := []any{}
	for dec.More() {
		v, err := value(dec, index(path, len(list)), depth-1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := dec.Token()
	return list, err
}

func members(dec *json.Decoder, path string, depth int) (any, error) {
	object := map[string]any{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, ok := token.(string)
		if !ok {
			return nil, fault.At(path, "has a name that is no string")
		}
		at := member(path, name)
		if _, twice := object[name]; twice {
			return nil, fault.At(at, "occurs twice")
		}
		if object[name], err = value(dec, at, depth-1); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return object, err
}

// member is the path of a member of the object at a path: "limits.budgets".
func member(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// index is the path of an element of the array at a path: "budgets[0]".
func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// merge applies a merge patch (RFC 7396) to a value, which it may change.
func merge(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	object, ok := target.(map[string]any)
	if !ok {
		object = map[string]any{}
	}
	for name, change := range changes {
		if change == nil {
			delete(object, name)
		} else {
			object[name] = merge(object[name], change)
		}
	}
	return object
}
