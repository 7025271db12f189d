package broker

import (
	"baton/destinations"
	"baton/journal"
)

// A census is what the machine tells the log about which records are needed.
type census struct{ *destinations.Live }

// Keep keeps what it cannot read, too.
func (c census) Keep(r journal.Record, gone func(seq uint64) bool) bool {
	keep, err := c.Live.Keep(EntryOf(r), gone)
	return keep || err != nil
}
