// Package baton is the map of the module; it holds no code.
//
//	cmd/baton        the binary: serve, send, receive, config, journal, version
//	config           one typed Config, defaults, loading, validation
//	broker           the STOMP server: listeners, sessions, engine, limits
//	broker/stomp     the wire codec
//	destinations     the pure machine: queues, topics, subscriptions, transactions
//	journal          the checksummed, group-committed log, and its checkpoints
//	failover         the pair of a master and a hot standby (not built yet)
//	network          the network of brokers (not built yet)
//	integration      black-box tests: real processes, real clients
//	bench            throughput and latency of a running broker
//
// Who may import whom is the table in layers_test.go, and that test holds it. The way of a message through the rooms:
//
//	socket -> broker/stomp -> broker -> destinations -> journal -> receipt and delivery -> socket
package baton
