package journal

import (
	"errors"
	"fmt"
)

var (
	// ErrLocked is wrapped by Open when another process, or another Journal of this one, holds the directory. The
	// error's text names the directory and, where known, the process.
	ErrLocked = errors.New("the journal is in use")
	// ErrClosed is returned by Append and Read after Close.
	ErrClosed = errors.New("the journal is closed")
	// ErrTrimmed is wrapped by Read when the first record asked for has been trimmed away.
	ErrTrimmed = errors.New("the record has been trimmed")
	// ErrNotFound is wrapped by Get when there is no such record: it was trimmed or cleaned away, or is not durable yet.
	ErrNotFound = errors.New("there is no such record")
	// ErrNewer is wrapped by Open, Verify and Dump when a segment needs a newer reader than this one.
	ErrNewer = errors.New("written by a newer version")
	// ErrTooBig is wrapped by Append for a batch of more than MaxBatchBytes.
	ErrTooBig = errors.New("the batch is too big")
)

// CorruptError says where a journal is damaged. What lies there was once durable, or a segment that must exist does not:
// it is never cut and never served.
type CorruptError struct {
	File   string // the segment's name within the directory
	Offset int64  // bytes from the start of File
	Reason string // what is wrong
	Hint   string // what an operator can do
}

const restoreHint = "the journal was not changed; restore the file from a copy, or see what `baton journal repair` can save"

func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal corrupt: %s at offset %d: %s (%s)", e.File, e.Offset, e.Reason, e.Hint)
}

func corrupt(file string, offset int64, format string, args ...any) *CorruptError {
	return &CorruptError{File: file, Offset: offset, Reason: fmt.Sprintf(format, args...), Hint: restoreHint}
}
