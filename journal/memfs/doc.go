// Package memfs is a journal.FS in memory for tests. It knows what a power cut may take: CrashClone gives the file system
// as a machine may find it after one, and OnCall sees each call before it is made and can let it fail.
//
//	        write ──> content ──Sync──> safe content        a block of 512 bytes that is not safe is
//	create, rename ──> names ──SyncDir──> safe names        found as it was or as it was to be
//
//	disk := memfs.New()
//	j, _ := journal.Open(journal.Options{Dir: "j", FS: disk})
//	…
//	after := disk.CrashClone(memfs.Random(seed))
package memfs
