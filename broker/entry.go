package broker

import (
	"baton/destinations"
	"baton/journal"
)

// EntryOf says in the words of package destinations what a record of the log,
// as read back from it, means. It shares memory with the record.
func EntryOf(r journal.Record) destinations.Entry {
	return destinations.Entry{Seq: r.Seq, Kind: destinations.EntryKind(r.Type), Body: r.Body}
}

// recordOf is what the log keeps of an entry. It shares memory with the entry.
func recordOf(e *destinations.Entry, epoch uint32) journal.Record {
	return journal.Record{Seq: e.Seq, Epoch: epoch, Type: uint8(e.Kind), Head: e.Head, Body: e.Body}
}
