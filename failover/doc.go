// Package failover will hold the pair: who may be master, the journal that is durable on two machines, and the standby
// that takes over. Nothing of it is built yet.
package failover
