package failover

import (
	"encoding/json"
	"fmt"
	"net"

	"baton/journal"
)

// A Hello is what a node says of itself when a connection begins (frame HELLO, both ways). It is a hint: only what the peer
// does afterwards counts. Here and in a [Plan], what an earlier build does not say is zero, and what a later one adds is passed
// over.
type Hello struct {
	Node        string           `json:"node"`
	Incarnation string           `json:"incarnation"` // of the process
	Cluster     ID               `json:"cluster"`     // of the pair; zero: the node never was a member of one
	Journal     ID               `json:"journal"`
	Role        string           `json:"role"`
	Master      bool             `json:"master"`   // it is one, in Epoch, and can be followed
	Epoch       uint32           `json:"epoch"`    // in which it has that role
	Promised    uint32           `json:"promised"` // it refuses lower ones
	RegRev      uint64           `json:"reg_rev"`  // the newest revision of the register that it has kept, of that epoch
	Lineage     Lineage          `json:"lineage"`
	End         journal.Position `json:"end"`       // of its journal, where all is durable
	First       uint64           `json:"first"`     // Seq of the first record it can read
	Resync      bool             `json:"resync"`    // it asks for a snapshot, whatever its journal holds
	Advertise   string           `json:"advertise"` // its STOMP address for clients
}

// maxFieldBytes bounds what the node in front of us makes us keep of it.
const maxFieldBytes = 300

func (h *Hello) check(peer string) error {
	if h.Node != peer {
		return fmt.Errorf("the HELLO of node %q says that it is %q", peer, h.Node)
	}
	for _, s := range []string{h.Incarnation, h.Role, h.Advertise} {
		if len(s) > maxFieldBytes {
			return fmt.Errorf("the HELLO of node %q has a field of %d octets", peer, len(s))
		}
	}
	return h.Lineage.check()
}

func parseHello(b []byte, peer string) (h Hello, err error) {
	if err := json.Unmarshal(b, &h); err != nil {
		return h, fmt.Errorf("the HELLO of node %q cannot be read: %w", peer, err)
	}
	return h, h.check(peer)
}

// exchange tells the peer mine and returns its Hello. Who accepts speaks last, and knows whom it answers.
func exchange(conn net.Conn, s seeds, peer string, dialled bool, mine func(peer Hello) Hello) (theirs Hello, err error) {
	tell := func() error {
		h := mine(theirs)
		b, err := json.Marshal(&h)
		if err == nil {
			err = writeFrame(conn, kindHello, h.Epoch, s.out, b)
		}
		return err
	}
	if dialled {
		if err := tell(); err != nil {
			return theirs, err
		}
	}
	f, err := readFrame(conn, s.in, helloBytes)
	if err == nil && f.kind != kindHello {
		err = fmt.Errorf("a %s came where a HELLO was due", f.kind)
	}
	if err == nil {
		theirs, err = parseHello(f.payload, peer)
	}
	if err == nil && !dialled {
		err = tell()
	}
	return theirs, err
}
