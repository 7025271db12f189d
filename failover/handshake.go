package failover

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

var (
	// ErrSecret is wrapped by Dial and Accept, on both sides, when the two nodes do not have the same secret.
	ErrSecret = errors.New("the two nodes do not have the same failover.secret")
	// ErrStranger is wrapped by Dial and Accept when the peer is not the other node of this pair.
	ErrStranger = errors.New("the peer is not the other node of this pair")
)

// wireVersion is that of the protocol between the nodes. What only adds to a JSON frame does not change it.
const wireVersion = 1

const (
	greetingMagic = "BATONPAIR"
	nonceBytes    = 32
)

// A greeting is what each side says first, the dialler before the other.
type greeting struct {
	version    uint8
	nonce      [nonceBytes]byte
	node, pair string // at most maxNameBytes each
}

func (g *greeting) encode() []byte {
	b := append([]byte(greetingMagic), g.version)
	b = append(b, g.nonce[:]...)
	for _, name := range []string{g.node, g.pair} {
		b = append(b, byte(len(name)))
		b = append(b, name...)
	}
	return b
}

func parseGreeting(b []byte) (g greeting, err error) {
	fixed := len(greetingMagic) + 1 + nonceBytes
	if len(b) < fixed || string(b[:len(greetingMagic)]) != greetingMagic {
		return g, errors.New("this is no greeting of the replication protocol")
	}
	g.version = b[len(greetingMagic)]
	copy(g.nonce[:], b[len(greetingMagic)+1:])
	if g.version != wireVersion {
		return g, fmt.Errorf("the peer speaks version %d of the replication protocol, this node speaks %d", g.version, wireVersion)
	}
	b = b[fixed:]
	for _, name := range []*string{&g.node, &g.pair} {
		if len(b) == 0 || int(b[0]) > min(len(b)-1, maxNameBytes) {
			return g, errors.New("the greeting ends within a name")
		}
		*name, b = string(b[1:1+b[0]]), b[1+b[0]:]
	}
	if len(b) > 0 {
		return g, fmt.Errorf("the greeting has %d octets too many", len(b))
	}
	return g, nil
}

// seeds begin the checksums of the frames of one connection.
type seeds struct{ out, in uint32 }

// handshake proves to each other that both sides have the secret, and that they are the two nodes of one pair. It leaves
// the deadline to the caller.
func handshake(conn net.Conn, o *LinkOptions, dialled bool) (peer string, s seeds, err error) {
	if len(o.Secret) == 0 && !loopback(conn.RemoteAddr()) {
		return "", s, fmt.Errorf("%w: without a failover.secret only loopback addresses are allowed, this is %s", ErrStranger, conn.RemoteAddr())
	}
	mine := greeting{version: wireVersion, node: o.Node, pair: o.Pair}
	_, _ = rand.Read(mine.nonce[:])
	h := handshaking{conn: conn, secret: o.Secret, dialled: dialled, mine: mine.encode()}
	theirs, err := h.greet()
	switch {
	case err != nil:
		return "", s, err
	case theirs.node == o.Node:
		return "", s, h.refuse(fmt.Errorf("%w: both nodes are called %q, or it is this one itself", ErrStranger, o.Node))
	case theirs.pair != o.Pair:
		return "", s, h.refuse(fmt.Errorf("%w: node %q belongs to the pair %q, node %q to %q", ErrStranger, theirs.node, theirs.pair, o.Node, o.Pair))
	}
	if err := h.prove(); err != nil {
		return "", s, err
	}
	return theirs.node, h.seeds(), nil
}

type handshaking struct {
	conn         net.Conn
	secret       []byte
	dialled      bool
	mine, theirs []byte // greetings
}

func (h *handshaking) greet() (greeting, error) {
	if h.dialled {
		if err := h.write(kindGreeting, h.mine); err != nil {
			return greeting{}, err
		}
	}
	b, err := h.read(kindGreeting)
	if err != nil {
		return greeting{}, err
	}
	h.theirs = b
	if !h.dialled {
		if err := h.write(kindGreeting, h.mine); err != nil {
			return greeting{}, err
		}
	}
	g, err := parseGreeting(b)
	if err != nil {
		err = h.refuse(fmt.Errorf("%w: %w", ErrStranger, err))
	}
	return g, err
}

// prove has the dialler prove first, so that nobody learns anything from who accepts.
func (h *handshaking) prove() error {
	if h.dialled {
		if err := h.write(kindProof, h.mac("dial")); err != nil {
			return err
		}
		return h.expect(h.mac("accept"))
	}
	if err := h.expect(h.mac("dial")); err != nil {
		return err
	}
	return h.write(kindProof, h.mac("accept"))
}

func (h *handshaking) expect(proof []byte) error {
	b, err := h.read(kindProof)
	if err == nil && !hmac.Equal(b, proof) {
		err = h.refuse(ErrSecret)
	}
	return err
}

// mac covers both greetings: the nonces, the names, the pair and the version.
func (h *handshaking) mac(what string) []byte {
	first, second := h.theirs, h.mine
	if h.dialled {
		first, second = h.mine, h.theirs
	}
	m := hmac.New(sha256.New, h.secret)
	for _, part := range [][]byte{[]byte(what), first, second} {
		m.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(part))))
		m.Write(part)
	}
	return m.Sum(nil)
}

func (h *handshaking) seeds() seeds {
	fromDialler, toDialler := binary.LittleEndian.Uint32(h.mac("from the dialler")), binary.LittleEndian.Uint32(h.mac("to the dialler"))
	if h.dialled {
		return seeds{fromDialler, toDialler}
	}
	return seeds{toDialler, fromDialler}
}

// refuse tells the peer why, as far as that works, and returns the reason.
func (h *handshaking) refuse(why error) error {
	text := why.Error()
	if errors.Is(why, ErrSecret) {
		text = refusedSecret
	}
	_ = h.write(kindRefusal, []byte(text[:min(len(text), greetingBytes)]))
	return why
}

const refusedSecret = "secret"

func (h *handshaking) write(k kind, payload []byte) error {
	return writeFrame(h.conn, k, 0, 0, payload)
}

func (h *handshaking) read(want kind) ([]byte, error) {
	f, err := readFrame(h.conn, 0, greetingBytes)
	switch {
	case err != nil:
		return nil, err
	case f.kind == want:
		return f.payload, nil
	case f.kind == kindRefusal && string(f.payload) == refusedSecret:
		return nil, ErrSecret
	case f.kind == kindRefusal:
		return nil, fmt.Errorf("%w: it says %q", ErrStranger, f.payload)
	}
	return nil, fmt.Errorf("a %s came where a %s was due", f.kind, want)
}

func writeFrame(w io.Writer, k kind, epoch, seed uint32, payload []byte) error {
	if len(payload) > k.limit() {
		return fmt.Errorf("a %s would have %d octets, the most is %d", k, len(payload), k.limit())
	}
	b := append(make([]byte, frameHeaderBytes, frameHeaderBytes+len(payload)), payload...)
	seal(b, k, 0, epoch, seed)
	_, err := w.Write(b)
	return err
}

// readFrame reads one frame of at most limit octets of payload, and nothing behind it.
func readFrame(r io.Reader, seed uint32, limit int) (frame, error) {
	header := make([]byte, frameHeaderBytes)
	if _, err := io.ReadFull(r, header); err != nil {
		return frame{}, err
	}
	size, err := frameSize(header)
	if err == nil && size > frameHeaderBytes+limit {
		err = fmt.Errorf("a %s of %d octets comes where at most %d are due", kind(header[4]), size, limit)
	}
	if err != nil {
		return frame{}, err
	}
	b := append(header, make([]byte, size-frameHeaderBytes)...)
	if _, err := io.ReadFull(r, b[frameHeaderBytes:]); err != nil {
		return frame{}, err
	}
	return parseFrame(b, seed)
}

// loopback says whether nobody else can be behind an address; one that is none of TCP is within this machine.
func loopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}
