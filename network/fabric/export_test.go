package fabric

import "net"

// ClientAddr is where the embedded server listens for clients of NATS: nowhere.
func (f *Fabric) ClientAddr() net.Addr { return f.server.Addr() }
