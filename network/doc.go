// Package network will hold the network of brokers: forwarding messages to wherever their consumers are. Nothing of it
// is built yet.
package network
