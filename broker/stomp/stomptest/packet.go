package stomptest

import "strings"

// Packet is what one client sends, and what must come of it.
type Packet struct {
	Name          string
	Version       string // "1.0", "1.1" or "1.2": the version agreed on before Bytes; of no weight if BeforeConnect
	BeforeConnect bool   // Bytes are the first on their connection; otherwise a CONNECT has been answered
	Bytes         []byte

	// For hostile packets. The server must answer ERROR and close; the text of the ERROR holds Want. Want is "" where
	// the bytes are well-formed and what they ask for is wrong. A packet that is Held is a part of a frame: nothing is
	// wrong with it yet, and the server must close when its time is over.
	Want string
	Held bool
}

// after returns a packet for a client that has connected with version 1.2.
func after(name, bytes, want string) Packet {
	return Packet{Name: name, Version: "1.2", Bytes: []byte(bytes), Want: want}
}

// before returns a packet that is the first on its connection.
func before(name, bytes, want string) Packet {
	return Packet{Name: name, Version: "1.2", BeforeConnect: true, Bytes: []byte(bytes), Want: want}
}

func (p Packet) in(version string) Packet {
	p.Name += "/" + version
	p.Version = version
	return p
}

func (p Packet) held() Packet {
	p.Held = true
	return p
}

// name renders text as a part of a packet's name.
func name(text string) string {
	return strings.NewReplacer(" ", "␠", "/", "∕").Replace(text)
}
