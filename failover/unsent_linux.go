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

// isUnanswered says that the other end has not answered what was sent to it again. One that does not want more at present has: a
// broker may have a client wait for long. TCP_USER_TIMEOUT would end its connection.
func isUnanswered(conn *net.TCPConn) (unanswered bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false // it is closed
	}
	_ = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		unanswered = err == nil && info.Retransmits+info.Probes > 0
	})
	return unanswered
}
