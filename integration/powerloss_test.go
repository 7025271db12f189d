package integration

import (
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"baton/integration/disk"
	"baton/integration/history"
	"baton/integration/process"
)

var images = flag.Int("images", 12, "how often TestPowerLoss cuts the power")

const (
	imageBytes  = 512 << 20
	cutsPerDisk = 4 // then a new disk, lest the history to judge grows with the square of the images
)

// The power fails under load, again and again on the same disk. Each time a copy of the disk is checked by e2fsck, drained
// by a broker and judged; then the load goes on upon the disk itself.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	if err := disk.Unavailable(within(t)); err != nil {
		t.Logf("NOTHING IS SHOWN HERE, power cannot be cut on this machine: %v", err)
		return
	}
	t.Logf("%d images, -seed %d", *images, *seed)
	rng := rand.New(rand.NewPCG(*seed, 1))
	for left := *images; left > 0 && !t.Failed(); left -= cutsPerDisk {
		loseOneDisk(t, rng, min(left, cutsPerDisk))
	}
}

// outage is a disk whose power fails, and the load that knows what its brokers have promised.
type outage struct {
	*load
	dir  string
	disk *disk.Disk
	rng  *rand.Rand
}

func loseOneDisk(t *testing.T, rng *rand.Rand, cuts int) {
	t.Helper()
	dir, err := os.MkdirTemp("", "baton-powerloss-")
	if err != nil {
		t.Fatal(err)
	}
	d, err := disk.Make(within(t), filepath.Join(dir, "image"), imageBytes)
	if err != nil {
		t.Fatal(err)
	}
	o := &outage{load: newLoad(), dir: dir, disk: d, rng: rng}
	defer o.end(t)
	for cut := range cuts {
		o.cutPower(t)
		report := o.inspect(t)
		t.Logf("image %d: %v", cut+1, report)
		if !report.Valid() {
			t.Fatal("the history is not valid")
		}
	}
}

// end keeps the images and the history where the test has failed, and nothing where not.
func (o *outage) end(t *testing.T) {
	o.disk.Discard()
	keepEvidence(t, o.dir, o.history)
}

// brokerOn are the options of a broker whose data lies on a mounted disk. Its segments change with it.
func (o *outage) brokerOn(t *testing.T, mounted string) process.Options {
	t.Helper()
	segments := []string{"64KiB", "256KiB", "1MiB"}
	options := options(t, "BATON_QUEUES_MAX_DELIVERIES=65535", "BATON_JOURNAL_SEGMENT="+segments[o.rng.IntN(len(segments))],
		"BATON_JOURNAL_CHECKPOINT_EVERY=100ms", "BATON_JOURNAL_LOW_WATER=1MiB", expiryPolicy)
	options.Data = filepath.Join(mounted, "data")
	return options
}

// cutPower runs a broker under load, and cuts the power of its disk after a random number of operations. The broker lives
// on until it notices: it may promise nothing more, and must end.
func (o *outage) cutPower(t *testing.T) {
	t.Helper()
	mounted := filepath.Join(o.dir, "mounted")
	// Without auto_da_alloc ext4 does not sync on its own what is renamed over something.
	modes := []string{"noauto_da_alloc,data=ordered", "noauto_da_alloc,data=writeback"}
	if err := o.disk.Mount(within(t), mounted, modes[o.rng.IntN(len(modes))]); err != nil {
		t.Fatal(err)
	}
	b := start(t, o.brokerOn(t, mounted))
	rest(o.rng)
	wait := o.start(t.Context(), b.Addr, o.rng, chooseMix(o.rng))
	stalled := o.history.Await(within(t), o.history.Len()+1+o.rng.IntN(8_000))
	cut := o.disk.Cut()
	var exit *process.ExitError
	if err := b.Wait(within(t)); !errors.As(err, &exit) || exit.Code != 1 {
		t.Errorf("a broker without a disk ended with %v", err)
	}
	if err := errors.Join(wait(), stalled, cut); err != nil {
		t.Fatalf("%v\n%s", err, b.Log())
	}
	if err := o.disk.Unmount(within(t)); err != nil {
		t.Fatal(err)
	}
}

// inspect drains a copy of the disk, and judges what it held.
func (o *outage) inspect(t *testing.T) *history.Report {
	t.Helper()
	path := filepath.Join(o.dir, "copy")
	d, err := o.disk.Copy(within(t), path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Discard()
	if said, err := d.Check(within(t)); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	mounted := filepath.Join(o.dir, "inspected")
	if err := d.Mount(within(t), mounted, ""); err != nil {
		t.Fatal(err)
	}
	after := &load{history: o.history.Clone(), numbers: o.numbers}
	after.clients.Store(o.clients.Load())
	drain(t, o.brokerOn(t, mounted), after)
	if err := d.Unmount(within(t)); err != nil {
		t.Fatal(err)
	}
	report := history.Check(after.history.Ops())
	if report.Valid() {
		os.Remove(path)
	}
	return report
}
