package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Disk is an ext4 file system in a file. One goroutine at a time may use it.
type Disk struct {
	Image string // the file

	dir   string    // where it is mounted; "": it is not
	guard *exec.Cmd // unmounts dir when alive closes
	alive io.Closer
}

// Unavailable says why this machine can make no disks; nil: it can. It tries.
func Unavailable(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("only root can mount")
	}
	for _, tool := range []string{"mkfs.ext4", "e2fsck", "mount", "umount", "sh"} {
		if _, err := exec.LookPath(tool); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "baton-disk-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d, err := Make(ctx, filepath.Join(dir, "image"), 16<<20)
	if err != nil {
		return err
	}
	if err := d.Mount(ctx, filepath.Join(dir, "mounted"), ""); err != nil {
		return err
	}
	return errors.Join(d.Cut(), d.Unmount(ctx))
}

// Make creates a sparse image of so many bytes with an empty file system.
func Make(ctx context.Context, image string, bytes int64) (*Disk, error) {
	file, err := os.OpenFile(image, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(file.Truncate(bytes), file.Close()); err != nil {
		return nil, err
	}
	// Blocks as large disks have them; a small journal, that wraps around often; nothing initialized behind our back.
	_, err = run(ctx, "mkfs.ext4", "-q", "-F", "-b", "4096", "-J", "size=4", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
	return &Disk{Image: image}, err
}

// Mount makes the file system appear at dir, which it creates. Options are those of mount -o, such as data=writeback.
func (d *Disk) Mount(ctx context.Context, dir, options string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := d.hire(dir); err != nil {
		return err
	}
	if _, err := run(ctx, "mount", "-t", "ext4", "-o", strings.TrimSuffix("loop,"+options, ","), d.Image, dir); err != nil {
		d.dismiss()
		return err
	}
	d.dir = dir
	return nil
}

// hire starts the guard before there is something to guard. In a process group of its own it outlives an interrupt.
func (d *Disk) hire(dir string) (err error) {
	d.guard = exec.Command("sh", "-c", `read _; umount -l "$0" 2>/dev/null`, dir)
	d.guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if d.alive, err = d.guard.StdinPipe(); err != nil {
		return err
	}
	return d.guard.Start()
}

func (d *Disk) dismiss() {
	d.alive.Close()
	d.guard.Wait() // it fails when there is nothing to unmount, and that is how it should be
}

// Cut ends all writing to the image at once.
func (d *Disk) Cut() error {
	dir, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	const (
		shutdown   = 0x8004587d // FS_IOC_SHUTDOWN of linux/fs.h
		noLogFlush = 2          // EXT4_GOING_FLAGS_NOLOGFLUSH
	)
	if err := unix.IoctlSetPointerInt(int(dir.Fd()), shutdown, noLogFlush); err != nil {
		return fmt.Errorf("shut %s down: %w", d.dir, err)
	}
	return nil
}

// Unmount ends a mount, whose files nobody may have open. Where there is none it does nothing.
func (d *Disk) Unmount(ctx context.Context) error {
	if d.dir == "" {
		return nil
	}
	if _, err := run(ctx, "umount", d.dir); err != nil {
		return err
	}
	d.dir = ""
	d.dismiss()
	return nil
}

// Discard unmounts whatever still uses the disk.
func (d *Disk) Discard() {
	if d.dir != "" {
		d.dir = ""
		d.dismiss()
	}
}

// Copy makes a second disk of one that is not mounted.
func (d *Disk) Copy(ctx context.Context, image string) (*Disk, error) {
	_, err := run(ctx, "cp", "--sparse=always", d.Image, image)
	return &Disk{Image: image}, err
}

// Check runs e2fsck on a disk that is not mounted: it replays the file system's journal and repairs only what is safe to
// repair. A file system that needs more is an error. It returns what e2fsck said.
func (d *Disk) Check(ctx context.Context) (string, error) {
	said, err := run(ctx, "e2fsck", "-f", "-p", d.Image)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 { // the journal was replayed
		err = nil
	}
	return said, err
}

func run(ctx context.Context, name string, args ...string) (said string, err error) {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	said = strings.TrimSpace(string(out))
	if err != nil {
		return said, fmt.Errorf("%s: %w: %s", name, err, said)
	}
	return said, nil
}
