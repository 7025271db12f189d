// Package stomptest holds named raw packets for tests of whoever reads STOMP from a network: [Good] ones to be taken
// as they are, [Hostile] ones to be refused. They are data alone; the codec's tests, its fuzz seeds and the tests of the
// server share them.
//
//	for _, p := range stomptest.Hostile {
//		conn := dial(t, addr)
//		if !p.BeforeConnect {
//			connect(t, conn, p.Version)
//		}
//		conn.Write(p.Bytes)
//		if p.Held { /* the server must time out */ } else { /* the server must answer ERROR and close */ }
//	}
//
// Invariants: names are unique, and each packet is wrong in one way only, the one its name tells.
package stomptest
