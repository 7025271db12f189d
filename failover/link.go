package failover

import (
	"time"

	"go.uber.org/zap"
)

// LinkOptions are what both ends of a connection between the nodes of a pair need.
type LinkOptions struct {
	Node   string // this node's name
	Pair   string // the pair's name, the same on both nodes
	Secret []byte // the same on both nodes; empty: only loopback addresses are allowed
	// Greet bounds the time in which the connection is made and both have said HELLO. 0: 2 s.
	Greet time.Duration
	// Silence is after what time without a frame the peer counts as silent, and the longest that a write may take. 0: 10 s.
	Silence time.Duration
	Logger  *zap.Logger // nil: none
}
