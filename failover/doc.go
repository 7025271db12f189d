// Package failover is the pair: who may be master, the log that is durable on two machines, and the standby that takes
// over.
//
//	State, Step      who is master and what is committed: pure
//	Log              the log of a node, as its broker sees it
//	Sender, Receiver the two ends of the stream that keeps the journals of both nodes equal: passive
//	Link             a connection between the nodes, which pumps them
//	Register         where roles are decided
//	Node             all of it, in a process
//
// README.md has the protocol, the frames and the files.
package failover
