package failover

import (
	"context"
	"errors"
)

// Register is the one value, a [Record], that decides who is master. It changes by compare-and-set alone, and every
// change has a revision, which only grows. Implementations are natskv, on a bucket of NATS, and registertest, for tests.
// A Register is safe for concurrent use.
type Register interface {
	// CAS puts record in the place of what has the revision expect, where 0 is a register that never had a value, and
	// returns the revision of record. There are three outcomes:
	//
	//	nil           it is done, durably; everybody who comes later loses against it
	//	ErrLost       it is not done and never will be: another revision is there
	//	other errors  unknown: it may have been done, or may be at any time from now on (R5)
	CAS(ctx context.Context, expect uint64, record Record) (revision uint64, err error)

	// Read says what is in the register. What it says may be old: it is a hint, from which nobody derives a role (S12).
	// Errors wrap ErrNoRegister or ErrRecord; any other means that the register cannot be reached now.
	Read(ctx context.Context) (Reading, error)

	// Watch calls fn with what Read would return: at the beginning, and when that is something else than before, until
	// ctx ends. Errors are passed on in this way too. It goes on by itself after an outage. Nothing else is promised:
	// values in between may be left out, and come late or, where replicas disagree, twice.
	Watch(ctx context.Context, fn func(Reading, error))
}

// Reading is what was seen in the register.
type Reading struct {
	Revision uint64 // of Record, or of the mark that it was deleted; 0: there never was a value
	Found    bool   // there is a Record
	Record   Record
}

var (
	// ErrLost: a CAS was refused, for what is in the register has another revision.
	ErrLost = errors.New("another revision is in the register")

	// ErrNoRegister: the place of the register does not exist. That is not the same as an empty one (R9).
	ErrNoRegister = errors.New("there is no register")

	// ErrRecord: what is in the register is no record that this version can read.
	ErrRecord = errors.New("no record of a pair")
)
