package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A message's body is its number, octets that no disk compresses, and a checksum over both.
const (
	messageBytes  = 1 << 10
	checksumBytes = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// writeBody fills a body of messageBytes for the message of that number.
func writeBody(body []byte, number uint64) {
	binary.LittleEndian.PutUint64(body, number)
	end := len(body) - checksumBytes
	word := number ^ 0x9e3779b97f4a7c15 // xorshift needs a seed that is not 0
	for at := 8; at+8 <= end; at += 8 {
		word ^= word << 13
		word ^= word >> 7
		word ^= word << 17
		binary.LittleEndian.PutUint64(body[at:], word)
	}
	binary.LittleEndian.PutUint32(body[end:], crc32.Checksum(body[:end], castagnoli))
}

var errAltered = errors.New("the body is not what was sent")

// checkBody returns an error unless the body is whole and that of the message of that number.
func checkBody(body []byte, number uint64) error {
	end := messageBytes - checksumBytes
	if len(body) != messageBytes || binary.LittleEndian.Uint32(body[end:]) != crc32.Checksum(body[:end], castagnoli) {
		return fmt.Errorf("message %d was due: %w", number, errAltered)
	}
	if got := binary.LittleEndian.Uint64(body); got != number {
		return fmt.Errorf("message %d came when %d was due", got, number)
	}
	return nil
}
