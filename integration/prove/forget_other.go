//go:build !linux

package main

import "errors"

func forget(string) error { return errors.New("-cold: only Linux can forget a file's content") }
