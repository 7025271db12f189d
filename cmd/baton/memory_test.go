package main

import (
	"runtime/debug"
	"testing"
	"testing/fstest"

	"baton/config"
)

func TestMemoryLimits(t *testing.T) {
	t.Parallel()
	const machine = "MemFree: 1 kB\nMemTotal:       8388608 kB\nSwapTotal: 5 kB\n"
	for name, tc := range map[string]struct {
		files map[string]string
		want  config.Bytes
	}{
		"nothing is known": {nil, 0},
		"no cgroup":        {map[string]string{"proc/meminfo": machine}, 8 * config.GiB},
		"version 2": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/system.slice/baton.service\n",
			"sys/fs/cgroup/system.slice/baton.service/memory.max": "536870912\n",
			"sys/fs/cgroup/system.slice/memory.max":               "max\n",
		}, 512 * config.MiB},
		"version 2, a group above": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/system.slice/baton.service\n",
			"sys/fs/cgroup/system.slice/baton.service/memory.max": "max\n",
			"sys/fs/cgroup/system.slice/memory.max":               "268435456\n",
		}, 256 * config.MiB},
		"version 2, a path of the host's": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/../docker/abc\n", "sys/fs/cgroup/memory.max": "1048576\n",
		}, config.MiB},
		"version 1": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "9:cpu,cpuacct:/a\n8:hugetlb,memory:/docker/abc\n1:name=systemd:/x\n",
			"sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "1073741824\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":            "9223372036854771712\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes":          "4096\n",
		}, config.GiB},
		"version 1, no limit": {map[string]string{
			"proc/self/cgroup": "8:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 0},
		"nonsense": {map[string]string{
			"proc/meminfo": "MemTotal: many\n", "proc/self/cgroup": "0\n\n0::\n", "sys/fs/cgroup/memory.max": "-4\n",
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := fstest.MapFS{}
			for name, text := range tc.files {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
			if got := memoryLimits(root); config.Bytes(got) != tc.want {
				t.Errorf("got %s, want %s", config.Bytes(got), tc.want)
			}
		})
	}
}

func TestMemoryBudget(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	for available, want := range map[config.Bytes]config.Bytes{
		0:                config.GiB,
		100 * config.GiB: config.GiB,
		1000:             cfg.LeastBudget(),
		config.GiB:       config.GiB / 10 * 6,
	} {
		if got := memoryBudget(cfg, available); got != want {
			t.Errorf("of %s the broker takes %s, want %s", available, got, want)
		}
	}
	cfg.Journal.Cache = 2 * config.GiB
	if got := memoryBudget(cfg, 0); got != cfg.LeastBudget() {
		t.Errorf("with a large cache the broker takes %s, want %s", got, cfg.LeastBudget())
	}
	cfg.Memory.Budget = 2 * config.GiB
	if got := memoryBudget(cfg, config.MiB); got != cfg.Memory.Budget {
		t.Errorf("asked to take %s the broker takes %s", cfg.Memory.Budget, got)
	}
}

// The collector is told of the budget and of the index of what is stored. Its limit is one for the process, so this test runs
// alone.
func TestMemoryLimitFollowsWhatIsStored(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	stored := limitMemory(config.GiB)
	for messages, want := range map[int]int64{0: 960 << 20, 1 << 20: 1024 << 20} {
		stored(messages)
		if got := debug.SetMemoryLimit(-1); got != want {
			t.Errorf("with %d messages the limit is %d, want %d", messages, got, want)
		}
	}
	debug.SetMemoryLimit(500 << 20) // as GOMEMLIMIT does
	limitMemory(config.GiB)(0)
	if got := debug.SetMemoryLimit(-1); got != 500<<20 {
		t.Errorf("a limit of 500 MiB became %d", got)
	}
}

// Wherever the tests run, something is known, and the journal's disk has a size.
func TestThisMachine(t *testing.T) {
	t.Parallel()
	if got := availableMemory(); got < 64*config.MiB || got > 1<<50 {
		t.Errorf("this machine has %s of memory", got)
	}
	dir := t.TempDir()
	if here, below := diskSize(dir), diskSize(dir+"/not/there/yet"); here <= 0 || below != here {
		t.Errorf("the disk of %s has %d bytes, below it %d", dir, here, below)
	}
}

func TestLowWater(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ asked, disk, want config.Bytes }{
		{asked: 5, disk: config.TiB, want: 5},
		{disk: 100 * config.GiB, want: 5 * config.GiB},
		{disk: 10 * config.GiB, want: config.GiB},
		{disk: 100 * config.MiB, want: 50 * config.MiB},
		{disk: 0, want: config.GiB},
	} {
		if got := lowWater(tc.asked, tc.disk); got != tc.want {
			t.Errorf("lowWater(%s) of a disk of %s is %s, want %s", tc.asked, tc.disk, got, tc.want)
		}
	}
}
