// Package journal is the log that makes what was accepted survive a crash: append-only, cut into segment files,
// checksummed, written with one sync for everything that is pending (group commit). Records are opaque bytes.
//
//	Append --copy--> pending group        Sync, a full buffer or LazySync makes it due
//	                      |
//	                      v  writer goroutine: one write, one fdatasync; the next group forms meanwhile
//	   0000000001-….seg  [header|record record mark|record mark|…|index|seal]
//	   0000000002-….seg  [header|record mark|  zeros, or older octets ]
//	                      |
//	                      v
//	        Durable, OnDurable      Read, Get verify every checksum
//
// Invariants:
//   - After a crash all records of an Append are there or none, and all that were reported durable are.
//   - A group is written only when the one before is durable. Its marks say so: the promise. Damage below a promise is
//     corruption, never cut and never served; what follows the last promise may be torn and is cut by Open.
//   - After a write or sync that failed nothing is written, synced or reported durable any more.
//   - A segment that is missing and was not trimmed is noticed.
//
// README.md has the format, what each crash can leave and what is assumed of file systems.
package journal
