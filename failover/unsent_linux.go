package failover

import (
	"net"

	"golang.org/x/sys/unix"
)

// unsentBytes is how much of what is written the system may hold back before it sends it.
const unsentBytes = 128 << 10

// limitUnsent keeps the system from taking megabytes that a slow network cannot take yet: a beacon would wait behind them.
func limitUnsent(conn *net.TCPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return // it is closed
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentBytes)
	})
}
