// Command demo shows a pair at work on this machine: an arbiter, two brokers, and a load that notices little when the master is
// killed, when it comes back, and when the roles are swapped.
//
//	load ──failover:(a,b)──┬──> a ──┐
//	                       │    ↕   ├──> arbiter
//	                       └──> b ──┘
//
// All listen on free ports of 127.0.0.1 and keep their data in a temporary directory; nothing is left when it ends. It ends with
// exit code 1 if a message was lost or doubled.
//
// An example:
//
//	go run ./integration/demo
package main
