package cost

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// templates are the stacks of a deployment, seen as one set of resources.
type templates struct {
	resources []*resource          // by stack, then by logical id
	exports   map[string]*resource // what another stack imports by name
}

type resource struct {
	stack      *stack
	id, kind   string
	properties map[string]any
}

// stack is one template. Logical ids are unique within it only.
type stack struct {
	number     int // from 1, for errors
	parameters map[string]any
	byID       map[string]*resource
}

func (r *resource) String() string {
	return fmt.Sprintf("template %d, %s (%s)", r.stack.number, r.id, r.kind)
}

// parse reads templates as CDK writes them. Numbers are kept as they are written.
func parse(raw []json.RawMessage) (*templates, error) {
	if len(raw) == 0 {
		return nil, fmt.Errorf("it has no template: pass those that cdk synth writes")
	}
	set := &templates{exports: map[string]*resource{}}
	for i, doc := range raw {
		if err := set.add(i+1, doc); err != nil {
			return nil, fmt.Errorf("template %d: %w", i+1, err)
		}
	}
	return set, nil
}

func (t *templates) add(number int, doc []byte) error {
	var file struct {
		Parameters map[string]struct{ Default any }
		Resources  map[string]struct {
			Type       string
			Properties map[string]any
		}
		Outputs map[string]struct {
			Value  any
			Export struct{ Name any }
		}
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	if err := dec.Decode(&file); err != nil {
		return fmt.Errorf("it is no CloudFormation template: %w", err)
	}
	if len(file.Resources) == 0 {
		return fmt.Errorf("it has no Resources: pass the *.template.json files of cdk.out")
	}
	s := &stack{number: number, parameters: map[string]any{}, byID: map[string]*resource{}}
	for name, p := range file.Parameters {
		s.parameters[name] = p.Default
	}
	for _, id := range slices.Sorted(maps.Keys(file.Resources)) {
		r := &resource{stack: s, id: id, kind: file.Resources[id].Type, properties: file.Resources[id].Properties}
		s.byID[id] = r
		t.resources = append(t.resources, r)
	}
	for _, o := range file.Outputs {
		if name, ok := o.Export.Name.(string); ok {
			for _, r := range t.targets(s, o.Value) {
				t.exports[name] = r
			}
		}
	}
	return nil
}

// targets are the resources that a value refers to, in the stack or through an
// export of one that was read before.
func (t *templates) targets(s *stack, value any) []*resource {
	var found []*resource
	switch v := value.(type) {
	case []any:
		for _, x := range v {
			found = append(found, t.targets(s, x)...)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if r := t.reference(s, name, v[name]); r != nil {
				found = append(found, r)
				continue
			}
			found = append(found, t.targets(s, v[name])...)
		}
	}
	return found
}

// reference is the resource that one intrinsic function names, or nil.
func (t *templates) reference(s *stack, function string, argument any) *resource {
	if list, ok := argument.([]any); ok && function == "Fn::GetAtt" && len(list) > 0 {
		argument = list[0]
	}
	name, ok := argument.(string)
	if !ok {
		return nil
	}
	switch function {
	case "Ref":
		return s.byID[name]
	case "Fn::GetAtt":
		id, _, _ := strings.Cut(name, ".")
		return s.byID[id]
	case "Fn::ImportValue":
		return t.exports[name]
	}
	return nil
}

// of are the resources of a type.
func (t *templates) of(kind string) []*resource {
	var found []*resource
	for _, r := range t.resources {
		if r.kind == kind {
			found = append(found, r)
		}
	}
	return found
}

// get is a property by its path, "Integration.Uri", or nil. A parameter of the
// template stands for its default.
func (r *resource) get(path string) any {
	var at any = r.properties
	for name := range strings.SplitSeq(path, ".") {
		m, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = m[name]
	}
	if m, ok := at.(map[string]any); ok && len(m) == 1 {
		if name, ok := m["Ref"].(string); ok && r.stack.parameters[name] != nil {
			return r.stack.parameters[name]
		}
	}
	return at
}

// whole is a property that is a whole number of at most most; def when it is absent.
func (r *resource) whole(path string, def, most int64) (int64, error) {
	var text string
	switch v := r.get(path).(type) {
	case nil:
		return def, nil
	case json.Number:
		text = v.String()
	case string:
		text = v
	default:
		return 0, r.literal(path)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%s: %s is %q: a whole number from 0 to %d is needed to price it", r, path, text, most)
	}
	return n, nil
}

// text is a property that is a string; def when it is absent.
func (r *resource) text(path, def string) (string, error) {
	switch v := r.get(path).(type) {
	case nil:
		return def, nil
	case string:
		return v, nil
	}
	return "", r.literal(path)
}

// list is a property that is a list; none when it is absent.
func (r *resource) list(path string) ([]any, error) {
	switch v := r.get(path).(type) {
	case nil:
		return nil, nil
	case []any:
		return v, nil
	}
	return nil, r.literal(path)
}

func (r *resource) literal(path string) error {
	return fmt.Errorf("%s: %s is computed when it is deployed: write it out, or give its parameter a default, so that it can be priced", r, path)
}

// mentions says whether a word stands anywhere in the properties, in any case.
func (r *resource) mentions(path, word string) bool {
	raw, err := json.Marshal(r.get(path))
	return err == nil && strings.Contains(strings.ToLower(string(raw)), word)
}
