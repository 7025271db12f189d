package bench

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"time"
)

// A stamp begins every body: who sent it, as which of his, and when it was to be sent. What follows is noise, and a
// checksum in the stamp covers all of it.
type stamp struct {
	producer uint32
	number   uint32        // from 0
	at       time.Duration // since the run began: when the SEND was due
}

// StampBytes is the smallest body.
const StampBytes = 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// newBody returns a body of so many octets to be stamped.
func newBody(size int, producer uint32) []byte {
	body := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(producer), byte(producer >> 8)}).Read(body)
	return body
}

// destination is where the message goes, of so many: the messages of all producers take turns.
func (s stamp) destination(producers, destinations int) int {
	return int((int64(s.number)*int64(producers) + int64(s.producer)) % int64(destinations))
}

func (s stamp) put(body []byte) {
	binary.BigEndian.PutUint32(body[4:], s.producer)
	binary.BigEndian.PutUint32(body[8:], s.number)
	binary.BigEndian.PutUint64(body[12:], uint64(s.at))
	binary.BigEndian.PutUint32(body, crc32.Checksum(body[4:], castagnoli))
}

// readStamp is the inverse of put; ok is false for a body that is not as it was sent.
func readStamp(body []byte) (s stamp, ok bool) {
	if len(body) < StampBytes || binary.BigEndian.Uint32(body) != crc32.Checksum(body[4:], castagnoli) {
		return stamp{}, false
	}
	return stamp{
		producer: binary.BigEndian.Uint32(body[4:]),
		number:   binary.BigEndian.Uint32(body[8:]),
		at:       time.Duration(binary.BigEndian.Uint64(body[12:])),
	}, true
}
