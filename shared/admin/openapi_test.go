package admin

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/admission"
	"sluice/shared/llm"
	"sluice/shared/pool"
	"sluice/shared/usage"
)

// description is what the tests read of openapi.json.
type description struct {
	OpenAPI string
	Paths   map[string]map[string]struct {
		OperationID string
		Parameters  []map[string]any
		RequestBody any
		Responses   map[string]any
	}
	Components struct {
		Schemas map[string]struct {
			Required   []string
			Properties map[string]any
		}
	}
}

func described(t *testing.T) description {
	t.Helper()
	var d description
	if err := json.Unmarshal(openAPI, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDescriptionHasTheRoutes(t *testing.T) {
	d := described(t)
	served := make(map[string]bool)
	for _, r := range (&api{}).routes() {
		served[r.method+" "+r.path] = true
	}
	written := make(map[string]bool)
	ids := make(map[string]bool)
	for path, methods := range d.Paths {
		for method, op := range methods {
			at := strings.ToUpper(method) + " " + path
			written[at] = true
			if ids[op.OperationID] || op.OperationID == "" {
				t.Errorf("%s: the operationId %q is empty or taken", at, op.OperationID)
			}
			ids[op.OperationID] = true
			if _, ok := op.Responses["default"]; !ok {
				t.Errorf("%s describes no error", at)
			}
			names := func(p map[string]any) bool { return p["$ref"] == "#/components/parameters/id" }
			if strings.Contains(path, "{id}") != slices.ContainsFunc(op.Parameters, names) {
				t.Errorf("%s and its parameters differ on {id}", at)
			}
		}
	}
	sorted := func(m map[string]bool) []string { return slices.Sorted(maps.Keys(m)) }
	if diff := cmp.Diff(sorted(served), sorted(written)); diff != "" {
		t.Errorf("routes and openapi.json differ (-routes +openapi.json):\n%s", diff)
	}
}

func TestDescriptionSaysWhatIsPlanned(t *testing.T) {
	d := described(t)
	planned := make(map[string]bool)
	for _, p := range plannedRoutes() {
		planned[p] = true
	}
	for path, methods := range d.Paths {
		for method, op := range methods {
			at := strings.ToUpper(method) + " " + path
			if _, says := op.Responses["501"]; says != planned[at] {
				t.Errorf("%s: described as planned %v, is %v", at, says, planned[at])
			}
		}
	}
}

func plannedRoutes() []string {
	var all []string
	for _, p := range planned() {
		all = append(all, p.method+" "+p.path)
	}
	return all
}

func TestDescriptionHasTheFields(t *testing.T) {
	d := described(t)
	types := map[string]reflect.Type{
		"Key": reflect.TypeFor[keyView](), "KeyFields": reflect.TypeFor[keyFields](),
		"User": reflect.TypeFor[userView](), "UserFields": reflect.TypeFor[userFields](),
		"Team": reflect.TypeFor[teamView](), "TeamFields": reflect.TypeFor[ownerFields](),
		"Account": reflect.TypeFor[accountView](), "AccountFields": reflect.TypeFor[accountFields](),
		"Limits": reflect.TypeFor[admission.Limits](), "Window": reflect.TypeFor[admission.Window](),
		"Budget": reflect.TypeFor[admission.Budget](), "Models": reflect.TypeFor[admission.Models](),
		"Bind": reflect.TypeFor[admission.Bind](), "Balance": reflect.TypeFor[admission.Balance](),
		"Credential": reflect.TypeFor[credentialFields](), "ModelRules": reflect.TypeFor[pool.ModelRules](),
		"Health": reflect.TypeFor[healthView](), "Cool": reflect.TypeFor[pool.Cool](), "TestResult": reflect.TypeFor[testView](),
		"UsageRow": reflect.TypeFor[usage.Row](), "UsageRecord": reflect.TypeFor[usage.Record](), "Tokens": reflect.TypeFor[llm.Usage](),
		"Overview": reflect.TypeFor[overview](), "Counts": reflect.TypeFor[Counts](), "AccountSummary": reflect.TypeFor[accountSummary](),
		"Today": reflect.TypeFor[today](), "Open": reflect.TypeFor[open](), "Error": reflect.TypeFor[envelope](),
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(types)), slices.Sorted(maps.Keys(d.Components.Schemas))); diff != "" {
		t.Errorf("schemas (-types +openapi.json):\n%s", diff)
	}
	for name, typ := range types {
		schema := d.Components.Schemas[name]
		if diff := cmp.Diff(slices.Sorted(maps.Keys(fieldsOf(typ))), slices.Sorted(maps.Keys(schema.Properties))); diff != "" {
			t.Errorf("%s (-%v +openapi.json):\n%s", name, typ, diff)
		}
		for _, field := range schema.Required {
			if _, ok := schema.Properties[field]; !ok {
				t.Errorf("%s requires %q, which it has not", name, field)
			}
		}
	}
}

// Every reference leads somewhere, and everything that can be referred to is.
func TestDescriptionRefersToWhatThereIs(t *testing.T) {
	var whole map[string]any
	if err := json.Unmarshal(openAPI, &whole); err != nil {
		t.Fatal(err)
	}
	used := make(map[string]bool)
	references(whole, used)
	for ref := range used {
		at := any(whole)
		for _, name := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
			object, _ := at.(map[string]any)
			at = object[name]
		}
		if at == nil {
			t.Errorf("%s leads nowhere", ref)
		}
	}
	components, _ := whole["components"].(map[string]any)
	for _, kind := range []string{"schemas", "parameters", "responses", "headers"} {
		all, _ := components[kind].(map[string]any)
		for name := range all {
			if !used["#/components/"+kind+"/"+name] {
				t.Errorf("%s %s is used nowhere", kind, name)
			}
		}
	}
}

func references(v any, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			into[ref] = true
		}
		for _, m := range v {
			references(m, into)
		}
	case []any:
		for _, e := range v {
			references(e, into)
		}
	}
}
