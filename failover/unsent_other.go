//go:build !linux

package failover

import "net"

// limitUnsent leaves it to the system how much of what is written it holds back.
func limitUnsent(*net.TCPConn) {}
