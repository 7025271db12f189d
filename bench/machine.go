package main

import (
	"context"
	"io"
	"net"
	"os"
	"time"
)

// preallocatedBytes is the size of the file that measureDisk fills, and then starts again. It was written and synced
// before, so that a sync has no metadata to write: the best case, and the one that a journal arranges for itself.
const preallocatedBytes = 16 << 20

// measureDisk writes and syncs one message after the other.
func measureDisk(ctx context.Context, path string, duration time.Duration) (result, error) {
	file, err := os.Create(path)
	if err != nil {
		return result{}, err
	}
	defer os.Remove(path)
	defer file.Close()
	if _, err := file.Write(make([]byte, preallocatedBytes)); err != nil {
		return result{}, err
	}
	if err := file.Sync(); err != nil {
		return result{}, err
	}
	message := make([]byte, messageBytes)
	offset := int64(0)
	return repeat(ctx, duration, func() error {
		offset = (offset + messageBytes) % preallocatedBytes
		if _, err := file.WriteAt(message, offset); err != nil {
			return err
		}
		return datasync(file)
	})
}

// measureLoopback sends a message to an echoing connection and waits for it, one after the other.
func measureLoopback(ctx context.Context, duration time.Duration) (result, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return result{}, err
	}
	defer listener.Close()
	go echo(listener)
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return result{}, err
	}
	defer conn.Close()
	message := make([]byte, messageBytes)
	return repeat(ctx, duration, func() error {
		if _, err := conn.Write(message); err != nil {
			return err
		}
		_, err := io.ReadFull(conn, message)
		return err
	})
}

// echo ends with its connection.
func echo(listener net.Listener) {
	conn, err := listener.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	io.Copy(conn, conn)
}

// repeat does the same thing until the time is over, at least once.
func repeat(ctx context.Context, duration time.Duration, once func() error) (result, error) {
	r := result{latency: newLatency()}
	begin := time.Now()
	for last := begin; r.elapsed < duration; r.count++ {
		if err := once(); err != nil {
			return r, err
		}
		if err := ctx.Err(); err != nil {
			return r, err
		}
		now := time.Now()
		r.latency.RecordValue(now.Sub(last).Nanoseconds())
		last, r.elapsed = now, now.Sub(begin)
	}
	return r, nil
}
