// Command network shows a network of three brokers at work on this machine: what is sent to one of them follows its consumer from
// broker to broker, also when one of these is killed.
//
//	producer ──> a ───> b ──> consumer, which goes to c, and at last to a
//	             └────> c ──┘
//
// All listen on free ports of 127.0.0.1 and keep their data in a temporary directory; nothing is left when it ends. It ends with
// exit code 1 if a message was lost or came twice.
//
// An example:
//
//	go run ./integration/demo/network
package main
