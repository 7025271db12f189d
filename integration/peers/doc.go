// Package peers plays the same client scripts against Baton, a real ActiveMQ and a real RabbitMQ, and compares what the
// clients see, so that docs/migrating.md says what is true.
//
//	                     ┌──> baton serve ──┐
//	testdata/NAME.txt ───┼──> ActiveMQ      ├──> a transcript each: what every step saw
//	                     └──> RabbitMQ ─────┘            │
//	                                                     v
//	   each difference from Baton  ==  a row of docs/migrating.md, or a feature of pending.txt
//
// Invariants: a difference that is not listed fails, and so does a listed one that is no longer there; the peers are
// children of this process on loopback ports and directories of their own, no system service is touched, and none of them
// outlives it; a script uses destinations of its own, named with {}, and so runs beside all others.
//
// A script is a client's step a line (see script.go). It reads like this:
//
//	against activemq
//	a connect client-id:{}-desk
//	a subscribe 1 /topic/{} activemq.subscriptionName:desk
//	a disconnect
//	b connect
//	b send /topic/{} while-away persistent:true
//	a connect client-id:{}-desk
//	a subscribe 1 /topic/{} activemq.subscriptionName:desk
//	a read 1 = kept
//
// The peers come from Debian's activemq and rabbitmq-server; make peers installs them and runs this.
package peers
