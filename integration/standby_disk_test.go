package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"baton/integration/process"
)

// The disk of the standby is emptied, replaced, put back to what it was, and damaged, while the master serves. Each time the
// standby comes back in sync, as docs/failover.md says how, and then the master dies: nothing that was receipted is missing on
// the disk that takes over.
func TestStandbyDisk(t *testing.T) {
	t.Parallel()
	t.Logf("-seed %d", *seed)
	rng := rand.New(rand.NewPCG(*seed, 8))
	p := newBusyPair(newPair(t, expiryPolicy, refusing), rng)
	for _, disk := range []struct {
		name   string
		change func(t *testing.T, p *busyPair, standby int)
	}{
		{"its journal is gone", func(t *testing.T, p *busyPair, standby int) { remove(t, p.journalOf(standby)) }},
		{"its journal was removed while it ran", removeUnderIt},
		{"it is a new one", func(t *testing.T, p *busyPair, standby int) { remove(t, p.nodes[standby].options.Data) }},
		{"it is as it was earlier", putBack},
		{"a bit in it has flipped", flipAndReplace},
	} {
		master := p.awaitSync()
		p.work(500 + rng.IntN(1000))
		p.leaveAlone(master)
		disk.change(t, p, 1-master)
		p.work(200)
		p.start(1 - master)
		p.awaitSync()
		p.kill(master)
		if got := p.awaitMaster(); got != 1-master {
			t.Fatalf("%s: node %d serves, and is dead", disk.name, got)
		}
		p.start(master)
		t.Logf("the standby's disk: %s", disk.name)
	}
	p.awaitSync()
	p.rest()
	p.judge()
}

// A standby whose disk is nearly full raises an alarm, and its master another one, until there is room.
func TestStandbyDiskLow(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	master := p.awaitSync()
	standby := p.nodes[1-master]
	enough := standby.options.Env
	for _, low := range []bool{true, false} {
		p.leaveAlone(master)
		if standby.options.Env = enough; low {
			standby.options.Env = append(slices.Clone(enough), "BATON_JOURNAL_LOW_WATER=1000000GiB")
		}
		p.start(1 - master)
		p.awaitSync()
		for alarm, node := range map[string]int{"DISK_FULL": 1 - master, "PEER_DISK_FULL": master} {
			p.await(fmt.Sprintf("has the alarm %s: %t", alarm, low), func(pairStatus) bool {
				is, ok := p.status(node)
				return ok && slices.Contains(is.Alarms, alarm) == low
			})
		}
	}
}

func (p *pair) journalOf(node int) string {
	return filepath.Join(p.nodes[node].options.Data, "journal")
}

// leaveAlone kills the standby, and waits until the register says that the master is alone: what becomes of the standby's disk
// from then on is of no importance to anybody.
func (p *pair) leaveAlone(master int) {
	p.t.Helper()
	p.nodes[1-master].Kill()
	p.await("is alone", func(s pairStatus) bool { return s.Role == "solo" && s.Serving })
}

func remove(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}

// putBack gives a standby the copy of its disk that was made before it was in sync for the last time.
func putBack(t *testing.T, p *busyPair, standby int) {
	t.Helper()
	data, earlier := p.nodes[standby].options.Data, filepath.Join(p.dir, "earlier")
	remove(t, filepath.Join(data, "failover.sock"))
	if err := os.CopyFS(earlier, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	p.start(standby)
	master := p.awaitSync()
	p.work(500)
	p.leaveAlone(master)
	remove(t, data)
	if err := os.Rename(earlier, data); err != nil {
		t.Fatal(err)
	}
}

// removeUnderIt removes the journal of a standby that runs and is in sync, and what it writes then: it is not known as the one that
// the register lists when it is started again.
func removeUnderIt(t *testing.T, p *busyPair, standby int) {
	t.Helper()
	p.start(standby)
	master := p.awaitSync()
	remove(t, p.journalOf(standby))
	p.work(200)
	p.leaveAlone(master)
}

// flipAndReplace damages the journal of a standby. The node says where, and ends; it is not to be repaired, which would leave
// holes that nobody knows of; an empty directory is what helps.
func flipAndReplace(t *testing.T, p *busyPair, standby int) {
	t.Helper()
	data := p.nodes[standby].options.Data
	remove(t, filepath.Join(p.journalOf(standby), "checkpoint")) // so that all of the log is read
	file := flipBit(t, p.journalOf(standby))
	said, err := exec.Command(binary, "journal", "verify", "--data", data).CombinedOutput()
	if err == nil || !strings.Contains(string(said), file) {
		t.Errorf("verify does not see that %s is damaged: %s, %v", file, said, err)
	}
	p.start(standby)
	var exit *process.ExitError
	if err := p.nodes[standby].Wait(within(t)); !errors.As(err, &exit) || exit.Code != 1 || !strings.Contains(exit.Log, "journal corrupt: "+file) {
		t.Errorf("with a bit flipped in %s the node ended so: %v", file, err)
	}
	if !strings.Contains(exit.Log, "move the directory away and start this node with an empty one") || strings.Contains(exit.Log, "restore the file") {
		t.Errorf("of what helps it says %s", exit.Log)
	}
	said, err = exec.Command(binary, "journal", "repair", "--quarantine", "--data", data).CombinedOutput()
	if err == nil || !strings.Contains(string(said), "is of a node of a pair") {
		t.Errorf("the journal of one of a pair was repaired: %s, %v", said, err)
	}
	if err := os.Rename(data, data+".damaged"); err != nil {
		t.Fatal(err)
	}
}

// flipBit flips a bit in the middle of the oldest segment, and returns the name of the file.
func flipBit(t *testing.T, journal string) string {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(journal, "*.seg"))
	if err != nil || len(segments) < 2 {
		t.Fatalf("too few segments in %s: %v, %v", journal, segments, err)
	}
	content, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(segments[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
	return filepath.Base(segments[0])
}
