package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// available makes a mounted disk, or says loudly that this machine cannot.
func available(t *testing.T) (d *Disk, dir string, ok bool) {
	t.Helper()
	ctx := within(t)
	if err := Unavailable(ctx); err != nil {
		t.Logf("NOTHING IS SHOWN HERE, power cannot be cut on this machine: %v", err)
		return nil, "", false
	}
	d, err := Make(ctx, filepath.Join(t.TempDir(), "image"), 32<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Discard)
	dir = filepath.Join(t.TempDir(), "mounted")
	if err := d.Mount(ctx, dir, ""); err != nil {
		t.Fatal(err)
	}
	return d, dir, true
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// What was synced is there after the power was cut. What was not is not, or the disk would prove nothing.
func TestCutLosesWhatWasNotSynced(t *testing.T) {
	t.Parallel()
	d, dir, ok := available(t)
	if !ok {
		return
	}
	ctx := within(t)
	write(t, filepath.Join(dir, "synced"), "kept", true)
	write(t, filepath.Join(dir, "half"), "kept", true)
	write(t, filepath.Join(dir, "half"), "kept and lost", false)
	write(t, filepath.Join(dir, "unsynced"), "lost", false)
	must(t, d.Cut())
	if err := os.WriteFile(filepath.Join(dir, "late"), nil, 0o600); err == nil {
		t.Error("a disk without power took a file")
	}
	must(t, d.Unmount(ctx))

	original, again := d, filepath.Join(t.TempDir(), "again")
	d, err := d.Copy(ctx, filepath.Join(t.TempDir(), "copy"))
	must(t, err)
	t.Cleanup(d.Discard)
	if said, err := d.Check(ctx); err != nil || !strings.Contains(said, "recovering journal") {
		t.Errorf("e2fsck: %q, %v", said, err)
	}
	for name, disk := range map[string]*Disk{"checked copy": d, "original": original} {
		must(t, disk.Mount(ctx, again, "data=writeback"))
		for file, want := range map[string]string{"synced": "kept", "half": "kept", "unsynced": "", "late": ""} {
			got, err := os.ReadFile(filepath.Join(again, file))
			if string(got) != want || err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %s holds %q, want %q, %v", name, file, got, want, err)
			}
		}
		must(t, disk.Unmount(ctx))
	}
}

func write(t *testing.T, path, content string, sync bool) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	must(t, err)
	defer file.Close()
	_, err = file.WriteString(content)
	must(t, err)
	if sync {
		must(t, file.Sync())
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The mount goes when nobody unmounts it, even while a file is open.
func TestDiscard(t *testing.T) {
	t.Parallel()
	d, dir, ok := available(t)
	if !ok {
		return
	}
	open, err := os.Create(filepath.Join(dir, "open"))
	must(t, err)
	defer open.Close()
	d.Discard()
	d.Discard()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("still mounted: %v, %v", left, err)
	}
}

func TestCheckSeesDamage(t *testing.T) {
	t.Parallel()
	d, _, ok := available(t)
	if !ok {
		return
	}
	ctx := within(t)
	must(t, d.Unmount(ctx))
	image, err := os.OpenFile(d.Image, os.O_WRONLY, 0)
	must(t, err)
	defer image.Close()
	_, err = image.WriteAt(make([]byte, 64<<10), 0) // the superblock and what follows it
	must(t, err)
	if said, err := d.Check(ctx); err == nil {
		t.Errorf("e2fsck found nothing: %s", said)
	}
}
