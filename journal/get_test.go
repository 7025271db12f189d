package journal_test

import (
	"bytes"
	"errors"
	"fmt"

	"baton/journal"
)

// checkGet gets every record from first on, which must be there where kept says so and must not where not.
func checkGet(j *journal.Journal, first uint64, kept func(seq uint64) bool) error {
	for seq := first; seq <= j.Durable(); seq++ {
		r, err := j.Get(seq)
		if !kept(seq) {
			if !errors.Is(err, journal.ErrNotFound) {
				return fmt.Errorf("get %d, which is not there: %w", seq, err)
			}
			continue
		}
		want := record(seq)
		if err != nil || r.Seq != seq || r.Epoch != want.Epoch || r.Type != want.Type || !bytes.Equal(r.Body, payload(seq)) {
			return fmt.Errorf("get %d: %+v, %w", seq, r, err)
		}
	}
	return nil
}
