//go:build !linux

package hosts

import (
	"context"
	"errors"
	"net"
)

// A Network is some hosts and the router between them.
type Network struct{ Hosts []*Host }

// A Host is a network namespace.
type Host struct {
	Address string
	Enter   []string
}

// A Way is a direction between two hosts, by their numbers.
type Way struct{ From, To int }

var errSystem = errors.New("only Linux has network namespaces")

// Unavailable says why this machine can make no networks.
func Unavailable(context.Context) error { return errSystem }

// New, and all that a Network can do on Linux, fails here.
func New(context.Context, int) (*Network, error)               { return nil, errSystem }
func (n *Network) Cut(context.Context, ...Way) error           { return errSystem }
func (n *Network) Silence(int) []Way                           { return nil }
func (n *Network) Close()                                      {}
func (h *Host) Dial(context.Context, string) (net.Conn, error) { return nil, errSystem }
