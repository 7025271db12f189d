// Package disk makes disks whose power a test can cut: ext4 file systems in files, on loop devices.
//
//	Make ──> image ──> Mount ──> a directory like any other
//	                     │
//	                    Cut        from here on nothing reaches the image: what was not synced is lost, what was half
//	                     │         written stays half written, and whoever still writes gets an error
//	                  Unmount
//	                     │
//	         Copy, Check (e2fsck), Mount again: the kernel replays the file system's journal
//
// Cut asks the kernel to shut the file system down without writing anything more (FS_IOC_SHUTDOWN with NOLOGFLUSH), so that
// the image is that of one moment, unlike a copy of a file that is being written. What such a disk does not show is a
// volatile cache in the drive itself: a write that the kernel has handed over is in the image, flushed or not.
//
// It needs Linux, root, loop devices and e2fsprogs; Unavailable says what is missing. Each mount has a guard, a small
// process that unmounts when this one dies, however it dies; the loop device goes with the mount.
package disk
