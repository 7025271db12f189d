// Package natskv keeps the register of a pair, a failover.Register, as one key of a key-value bucket of NATS JetStream.
//
//	CAS    publish to $KV.BUCKET.KEY with "expected last sequence of this subject"; the answer has the new revision
//	Read   ask the leader of the bucket for the last value of the key; a hint all the same
//	Watch  Read every half second, and at once after the connection was lost and made again
//
// A bucket is a stream, and a revision the sequence number in it. Compare-and-set is all that is trusted of it. What is
// not used, and why:
//
//   - Time to live: that of a key ends with the first update, that of a bucket may end on some replicas alone.
//   - Create of the library: it goes over the mark of a deleted key, which we take for a loss (R9). An expected sequence of
//     0 does not.
//   - Watches of the library: they are consumers, which a server that starts anew has forgotten, and which takes the
//     library many seconds to notice. A Read every half second costs next to nothing, cannot come out of step, and tells
//     that the register is there.
//   - Retries and the buffer for the time without a connection: a CAS that was given up must not be sent any more.
package natskv
