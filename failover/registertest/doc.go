// Package registertest has a register for tests that does to a pair what a bad day does: answers get lost, a change comes
// late, a read shows what was, somebody deletes the bucket or puts back an old copy of it.
//
// It has no goroutine, clock or randomness: what happens to each operation is chosen by a function, and what was
// delayed is done when it is said so. A simulation with a clock of its own can drive it, and tests with goroutines too.
//
//	r := registertest.New(registertest.Script(registertest.Delayed))
//	_, err := r.CAS(ctx, 0, record) // no answer, and nothing is done
//	r.Deliver(0)                    // now it is, if nobody else was faster
package registertest
