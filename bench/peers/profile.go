package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"baton/bench"
)

// profiled are the workloads that a picture shows the CPU time of.
var profiled = []string{"persistent", "non-persistent"}

// profile makes a flame graph of Baton for each of these workloads.
func (p *plan) profile(ctx context.Context) error {
	for _, name := range profiled {
		w, err := bench.PresetOf(name)
		if err != nil {
			return err
		}
		file := filepath.Join(p.dir, name+".prof")
		err = p.with(ctx, "baton", []string{"--cpu-profile", file}, func(c *contender) error {
			_, err := p.run(ctx, c, p.scaled(w))
			return err
		})
		if err != nil {
			return fmt.Errorf("profile of %s: %w", name, err)
		}
		if err := p.drawFlame(name, w, file); err != nil {
			return err
		}
	}
	return nil
}

func (p *plan) drawFlame(name string, w bench.Workload, file string) error {
	read, err := os.Open(file)
	if err != nil {
		return err
	}
	defer read.Close()
	var picture bytes.Buffer
	if err := bench.Flame(&picture, fmt.Sprintf("Baton's CPU time, %s: %s", name, w), read); err != nil {
		return err
	}
	p.pictures[name] = picture.Bytes()
	return nil
}
