// Package late keeps settlements that the store did not take until it takes them.
//
// A call that was answered has to be counted, whatever the store is doing then. A
// settlement that it does not take is put into a queue that outlives the process,
// and a later Drain applies it. A queue gives every settlement at least once and
// not always only once: closing a call twice changes nothing (see
// admission.Settlement), so what has to be safe is only that none is lost.
//
// File is the queue of a process with a disk of its own; package sqs is the one of
// a deployment whose processes come and go. Package latetest is what both must do.
package late

import (
	"encoding/json"

	"sluice/shared/admission"
	"sluice/shared/fault"
)

// Encode is a settlement as a queue keeps it: JSON on one line. It errs with
// fault.Internal for one that could not be applied later: it names no call, or its
// row is no JSON.
func Encode(s admission.Settlement) ([]byte, error) {
	if s.Call == "" {
		return nil, fault.New(fault.Internal, "a settlement names no call, and so can never be applied")
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "the settlement of call %s cannot be encoded", s.Call)
	}
	return text, nil
}

// Decode reads what Encode made. It errs with fault.Invalid for anything else.
func Decode(text []byte) (admission.Settlement, error) {
	var s admission.Settlement
	if err := json.Unmarshal(text, &s); err != nil {
		return admission.Settlement{}, fault.Wrap(fault.Invalid, err, "a queued settlement cannot be read")
	}
	if s.Call == "" {
		return admission.Settlement{}, fault.At("call", "a queued settlement names no call")
	}
	return s, nil
}
