// Command prove shows what takes long to show, on the real broker, and says PASS or FAIL for each criterion.
//
//	go run ./integration/prove backlog [-count 5000000] [-dir DIR]    messages without a consumer, far above the memory budget
//	go run ./integration/prove start   [-count 1000000] [-dir DIR]    first MESSAGE with many messages on disk
//	go run ./integration/prove soak    [-duration 30m]  [-dir DIR]    disk use under traffic, beside one dead letter
//	go run ./integration/prove durable [-count 100000]  [-dir DIR]    a topic with many durable subscriptions: one copy on disk
//	go run ./integration/prove selective [-count 1000000] [-dir DIR]  a selector that wants 1 in 10,000 of what lies on disk
//	go run ./integration/prove pair [-rounds 5] [-behind 1073741824] [-dir DIR]  what a hot standby costs, and one that comes back
//
// Each builds baton, runs it on a temporary directory in DIR, prints a table while it works, and removes the directory:
//
//	proof ──> stage: binary, directory, table ──> verdicts
//	  │
//	  └── producing, drain ──> the broker: every message is numbered and checksummed, every number must come when it is due
//
// DIR decides which disk is measured and needs room: 12 GiB for start. What is measured includes the clients, who share the
// machine with the broker; nothing else should run on it. A message that is lost, doubled, altered or out of order ends a
// proof with an error at once. The exit code is 0 when every criterion holds.
//
// The tests of this package run the same proofs small, and judge all but what depends on the speed of the machine.
package main
