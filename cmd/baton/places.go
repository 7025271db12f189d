package main

import (
	"fmt"
	"net"
	"os"

	"baton/journal"
)

// listen opens the address of a key of the configuration. The error names the key.
func listen(key, address string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return listener, nil
}

// makeData makes the data directory where it is not there, and sees that it can be used. The error names its key.
func makeData(dir string) error {
	err := journal.OS{}.MkdirAll(dir)
	if err == nil {
		_, err = os.ReadDir(dir)
	}
	if err != nil {
		return fmt.Errorf("data.dir: %w", err)
	}
	return nil
}
