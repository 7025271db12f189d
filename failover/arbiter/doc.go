// Package arbiter is the third party of a pair: a NATS server with JetStream in this process, that keeps the registers of
// pairs in one bucket and does nothing else.
//
//	brokers --TCP, token--> nats-server --> bucket KV_NAME --> files, each change synced before it is confirmed
//
// It is no NATS server for anything else: who has the token may change and read the keys of this bucket, and has no other
// subject to publish to; connections, sizes and storage are small. It makes the bucket itself, so brokers need not.
//
// Invariants:
//   - A CAS that was confirmed is on disk (A1): a kill or a loss of power afterwards changes nothing.
//   - One arbiter a directory.
//   - It is ready when JetStream has answered, and ends with an error when JetStream has failed.
package arbiter
