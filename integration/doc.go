// Package integration tests Baton as its users meet it: the real binary, real clients, real signals. It imports nothing of
// the broker.
//
//	history   judges what clients saw: lost, doubled, resurrected, torn
//	client    a small, fast STOMP client that writes whatever it is told
//	process   builds the binary, runs it, kills it
//	testdata  scripts for clients in other languages
//
// The tests need a go command, and for the clients in other languages Debian's python3-stomp, ruby-stomp and netcat-openbsd;
// a missing one is a failure. All traffic stays on the loopback interface, every broker has a port and a data directory of
// its own.
//
// A longer crash campaign, and the repetition of one:
//
//	go test ./integration -run TestKill9 -timeout 60m -cycles 1000
//	go test ./integration -run TestKill9 -cycles 50 -seed 12345
package integration
