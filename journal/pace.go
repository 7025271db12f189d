package journal

import "time"

// paceBurst is how far ahead of its rate the background may get after a pause.
const paceBurst = 50 * time.Millisecond

// pace holds what cleaning and scrubbing read and write to a rate. One goroutine uses it.
type pace struct {
	rate int64           // bytes a second
	quit <-chan struct{} // ends every wait
	next time.Time       // when what was spent so far has been paid for
}

// spend accounts for n bytes and waits as long as that takes; false when the journal is stopping.
func (p *pace) spend(n int) bool {
	now := time.Now()
	if earliest := now.Add(-paceBurst); p.next.Before(earliest) {
		p.next = earliest
	}
	p.next = p.next.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	return p.sleep(p.next.Sub(now))
}

// sleep waits; false when the journal is stopping.
func (p *pace) sleep(d time.Duration) bool {
	if d <= 0 {
		select {
		case <-p.quit:
			return false
		default:
			return true
		}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.quit:
		return false
	case <-timer.C:
		return true
	}
}

// pacedFile is a file of which reading and writing is held to a rate, and synced as it grows.
type pacedFile struct {
	File
	pace     *pace
	unsynced int64
}

func (c *cleaner) paced(file File) *pacedFile { return &pacedFile{File: file, pace: &c.pace} }

// ReadAt implements File.
func (f *pacedFile) ReadAt(b []byte, offset int64) (int, error) {
	if !f.pace.spend(len(b)) {
		return 0, errStopped
	}
	return f.File.ReadAt(b, offset)
}

// WriteAt implements File.
func (f *pacedFile) WriteAt(b []byte, offset int64) (int, error) {
	if !f.pace.spend(len(b)) {
		return 0, errStopped
	}
	n, err := f.File.WriteAt(b, offset)
	f.unsynced += int64(n)
	if err == nil && f.unsynced >= syncEach {
		f.unsynced = 0
		err = f.Datasync()
	}
	return n, err
}
