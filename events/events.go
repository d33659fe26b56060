// Package events has what invokes the functions: the types of the events that are
// Sluice's own, and a sample of every kind of invocation, as AWS delivers it. The
// samples are what tests decode, and what a function can be tried with by hand.
//
// It needs the standard library only, so that whoever sends an event and whoever
// takes it can share its type.
package events

import (
	"embed"
	"time"
)

// Samples are invocations, one in each file:
//
//	rest-api-messages.json      a call through a REST API of API Gateway, whose stage is live
//	function-url-messages.json  the same call through a Function URL
//	sqs-late.json               a settlement of the late queue
//	scheduler-sweep.json        a Tick of the sweep
//	scheduler-rollup.json       a Tick of the rollup
//
//go:embed *.json
var Samples embed.FS

// Tick is the input of a function that a schedule invokes. Scheduler delivers the
// input of its target as it is, without an envelope, once it has replaced the
// keywords in it: a schedule's input is the JSON of a Tick, with the name of the
// job and with the keyword for the time that the schedule named.
//
//	{"job":"sweep","scheduled":"<aws.scheduler.scheduled-time>"}
//
// Source: docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html.
type Tick struct {
	Job       string    `json:"job"`       // what is to be done; a function refuses a job that it does not know
	Scheduled time.Time `json:"scheduled"` // when it was due by the schedule, which is before it runs
}
