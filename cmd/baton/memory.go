package main

import (
	"bufio"
	"io/fs"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"baton/config"
)

// mostUnasked is what a broker takes at most when no memory.budget is set.
const mostUnasked config.Bytes = config.GiB

// memoryBudget is memory.budget or, when that is left to the broker, 60% of what this process may have.
func memoryBudget(cfg config.Config, available config.Bytes) config.Bytes {
	if cfg.Memory.Budget > 0 {
		return cfg.Memory.Budget
	}
	most := mostUnasked
	if available > 0 { // 0: nobody knows
		most = min(available/10*6, most)
	}
	return max(most, cfg.LeastBudget())
}

// limitMemory has the garbage collector work harder where the process would otherwise take more than the budget and, for
// each stored message, what its index may take. It returns what is to be called with their number. GOMEMLIMIT still holds.
func limitMemory(budget config.Bytes) (stored func(messages int)) {
	const (
		indexBytes = 64
		step       = int64(config.MiB)      // of a limit; to set it stops the process for a moment
		least      = 64 * int64(config.MiB) // of a limit; below, the collector would have no rest
	)
	asked, set := debug.SetMemoryLimit(-1), int64(0)
	return func(messages int) {
		limit := max(least, int64(budget)*15/16) + indexBytes*int64(messages) // the rest is what the collector does not count
		if limit = min(limit/step*step, asked); limit != set {
			set = limit
			debug.SetMemoryLimit(limit)
		}
	}
}

// availableMemory is what the machine has, its cgroups allow and GOMEMLIMIT allows, whichever is least; 0 when nothing is
// known.
func availableMemory() config.Bytes {
	return leastMemory(installedMemory(), memoryLimits(os.DirFS("/")), debug.SetMemoryLimit(-1))
}

// leastMemory ignores what is not known (0) and what is no limit: what nobody has.
func leastMemory(sizes ...int64) config.Bytes {
	const nobodyHas = 1 << 60
	least := int64(nobodyHas)
	for _, size := range sizes {
		if size > 0 {
			least = min(least, size)
		}
	}
	if least == nobodyHas {
		return 0
	}
	return config.Bytes(least)
}

// memoryLimits is the least of what Linux says under root: the memory of the machine and the limits of the cgroups that
// this process is in; 0 when it says nothing.
func memoryLimits(root fs.FS) int64 {
	sizes := []int64{machineMemory(root)}
	for line := range linesOf(root, "proc/self/cgroup") {
		// ID:CONTROLLERS:PATH, and for version 2 there is one with no controllers.
		part := strings.SplitN(line, ":", 3)
		switch {
		case len(part) < 3:
		case part[1] == "":
			sizes = append(sizes, groupLimits(root, "sys/fs/cgroup", part[2], "memory.max")...)
		case contains(part[1], "memory"):
			sizes = append(sizes, groupLimits(root, "sys/fs/cgroup/memory", part[2], "memory.limit_in_bytes")...)
		}
	}
	return int64(leastMemory(sizes...))
}

func contains(list, word string) bool {
	for name := range strings.SplitSeq(list, ",") {
		if name == word {
			return true
		}
	}
	return false
}

func machineMemory(root fs.FS) int64 {
	for line := range linesOf(root, "proc/meminfo") {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 43)
			return kib << 10
		}
	}
	return 0
}

// groupLimits are the limits of a group and of those that it is in. In a container the path may be one that only the host
// knows; the limit is at the root then.
func groupLimits(root fs.FS, mount, group, file string) (sizes []int64) {
	for group = path.Clean("/" + group); ; group = path.Dir(group) {
		for line := range linesOf(root, path.Join(mount, group, file)) {
			size, _ := strconv.ParseInt(line, 10, 64) // "max" is none
			sizes = append(sizes, size)
		}
		if group == "/" {
			return sizes
		}
	}
}

// linesOf yields the lines of a file, none if it cannot be read.
func linesOf(root fs.FS, name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		f, err := root.Open(name)
		if err != nil {
			return
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		for lines.Scan() && yield(lines.Text()) {
		}
	}
}
