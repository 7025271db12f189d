// Package integration tests Baton as its users meet it: the real binary, real clients, real signals.
//
//	history   judges what clients saw: lost, doubled, resurrected, torn
//	client    a small, fast STOMP client that writes whatever it is told
//	process   builds the binary, runs it, kills it
//	hosts     machines whose network can be cut
//	disk      a file system whose power can be cut
//	peers     the same scripts against Baton, ActiveMQ and RabbitMQ
//	demo      commands that show a pair and a network at work
//	prove     a command that measures: backlog, start, soak, durable, pair
//	testdata  scripts for clients in other languages
//
//	           ┌─ go-stomp, stomp.py, Ruby stomp, netcat ─┐
//	a test ────┤                                          ├──> baton serve ──> journal in a temporary directory
//	           └─ client, and history takes notes ────────┘        ↑
//	                              SIGTERM, SIGKILL, SIGSTOP, power loss, damaged files, cut networks
//
// Invariants: no test looks inside the broker or shares code with it; a broker whose log holds a data race or a panic fails
// its test; a wait has a bound and none is a measurement; whatever is random prints its seed.
//
// The tests need a go command, and for the clients in other languages Debian's python3-stomp, ruby-stomp and netcat-openbsd, and
// npm, which fetches stompjs; for peers its activemq and rabbitmq-server. A missing one is a failure. All other traffic stays on the
// loopback interface, every broker has a port and a data directory of its own.
//
// A longer crash campaign, and the repetition of one:
//
//	go test ./integration -run TestKill9 -timeout 60m -cycles 1000
//	go test ./integration -run TestPowerLoss -timeout 60m -images 500
//	go test ./integration -run TestPartitions -timeout 12h -transitions 4032
//	go test ./integration -run TestKill9 -cycles 50 -seed 12345
//	go test ./integration -run TestPairClients -timeout 60m -v -failovers 1000
package integration
