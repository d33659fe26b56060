// Package archive keeps what must survive the loss of Redis.
//
// The config log is every change of the control plane in order, written before
// the change is made: one Entry a change, with the record as it is afterwards,
// sealed. Replaying it rebuilds every record.
//
// A Folder holds objects that are put once and never changed: the usage archive is
// one, in files or, in package s3folder, in S3.
package archive

import (
	"time"

	"sluice/shared/fault"
)

// Action says what a change does to a record.
type Action string

// The actions.
const (
	Put    Action = "put"    // the record is created or replaced
	Delete Action = "delete" // the record is removed
)

// Kind says what a record is.
type Kind string

// The kinds.
const (
	Key     Kind = "key"
	User    Kind = "user"
	Team    Kind = "team"
	Account Kind = "account"
)

// Entry is one change of one record.
type Entry struct {
	Seq     int64     `json:"seq"` // position in the log from 1, given by the log
	At      time.Time `json:"at"`
	Actor   string    `json:"actor"` // who made the change
	Action  Action    `json:"action"`
	Kind    Kind      `json:"kind"`
	ID      string    `json:"id"`               // of the record
	Version int64     `json:"version"`          // of the record after the change; of a Delete, the one removed
	Sealed  []byte    `json:"sealed,omitempty"` // of a Put: the record as JSON after the change, sealed under Context
}

// Context is what the after-image is sealed with as additional data. It differs
// from that of a credential in the record, so that neither opens as the other.
func (e *Entry) Context() string { return "config/" + string(e.Kind) + "/" + e.ID }

// Check refuses an entry that could not be replayed, with fault.Internal.
func (e *Entry) Check() error {
	known := e.Kind == Key || e.Kind == User || e.Kind == Team || e.Kind == Account
	switch {
	case !known || e.ID == "":
		return fault.New(fault.Internal, "a config log entry names no record (kind %q, id %q)", e.Kind, e.ID)
	case e.Action == Put && len(e.Sealed) == 0, e.Action != Put && e.Action != Delete:
		return fault.New(fault.Internal, "a config log entry of %s %s has action %q and no image", e.Kind, e.ID, e.Action)
	}
	return nil
}
