// Package cost computes what a deployment costs a month at Amazon Web Services,
// from the CloudFormation templates that deploy it and a file of list prices.
//
// Nothing is typed in twice: tasks, nodes, addresses and functions are counted in
// the templates, so that the page changes when the deployment does. Every type of
// resource must be known here, with a price or as free of charge. A template with
// another one is refused, so that no resource slips in unpriced.
//
// What depends on use follows from a model of one request (model.go), which the
// page states. Amounts are integer nano-dollars and quantities are integers in
// millionths of the unit that a price is for; floating point touches neither.
// Free allowances of an account are not subtracted: they may be used up already.
package cost

import (
	"encoding/json"
	"fmt"

	"sluice/shared/money"
)

// Deployment is one way to deploy the product.
type Deployment struct {
	Name      string            // "small"; a goal of this name is held against it
	Note      string            // what it is, for the page; Markdown
	Templates []json.RawMessage // one for each stack, as CDK synthesizes them
}

// Goal is the most that a deployment is to cost a month without a request, store included.
type Goal struct {
	Deployment string // Name of the deployment
	Most       money.Nanos
}

// Goals are the goals that the page checks.
func Goals() []Goal {
	return []Goal{
		{Deployment: "small", Most: 60 * money.Dollar},
		{Deployment: "ha", Most: 130 * money.Dollar},
		{Deployment: "lambda", Most: 15 * money.Dollar},
	}
}

// Months is a figure for each of the loads of Loads, in their order.
type Months [3]money.Nanos

// Item is a line of an estimate: one thing that is paid for.
type Item struct {
	Resource string // what it is, "NAT gateway"
	Price    Price
	Quantity [3]Quantity // at each load
	Cost     Months      // at each load
}

// Estimate is what a deployment costs.
type Estimate struct {
	Deployment Deployment
	Items      []Item   // the dearest without a request first
	Total      Months   // sums of the items
	Goal       *Goal    // nil = none is set for it
	Remarks    []string // where the deployment falls short; Markdown
}

// Met says whether the deployment keeps its goal; one without a goal does.
func (e *Estimate) Met() bool { return e.Goal == nil || e.Total[0] <= e.Goal.Most }

// Of computes the estimate of a deployment. It fails for a template that cannot
// be read, a type of resource that it does not know, and a property that decides
// about money and is no literal value; the error names the resource and the fix.
func Of(d Deployment) (*Estimate, error) {
	prices, err := Prices()
	if err != nil {
		return nil, err
	}
	set, err := parse(d.Templates)
	if err != nil {
		return nil, fmt.Errorf("deployment %s: %w", d.Name, err)
	}
	e := newEstimator(prices, set)
	if err := e.run(); err != nil {
		return nil, fmt.Errorf("deployment %s: %w", d.Name, err)
	}
	return e.estimate(d), nil
}
