//go:build !linux

package disk

import (
	"context"
	"errors"
)

// Disk is an ext4 file system in a file.
type Disk struct{ Image string }

var errSystem = errors.New("only Linux has ext4 and loop devices")

// Unavailable says why this machine can make no disks.
func Unavailable(context.Context) error { return errSystem }

// Make, and all that Disk can do on Linux, fails here.
func Make(context.Context, string, int64) (*Disk, error)       { return nil, errSystem }
func (d *Disk) Mount(context.Context, string, string) error    { return errSystem }
func (d *Disk) Cut() error                                     { return errSystem }
func (d *Disk) Unmount(context.Context) error                  { return errSystem }
func (d *Disk) Discard()                                       {}
func (d *Disk) Copy(context.Context, string) (*Disk, error)    { return nil, errSystem }
func (d *Disk) Check(context.Context) (said string, err error) { return "", errSystem }
