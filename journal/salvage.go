package journal

import "errors"

// salvage calls fn with every record and mark of f between the offsets begin and end whose checksums fit, whatever lies
// around them and whether or not they continue each other. The payload is valid during the call.
func (f *found) salvage(begin, end int64, fn func(h recordHeader, payload []byte, offset int64) error) error {
	sc := newScanner(f.file, &f.segmentHeader, begin, end, nil)
	for sc.offset < sc.end {
		h, payload, offset, err := sc.next()
		var damage *CorruptError
		if errors.As(err, &damage) {
			if err = sc.skip(); err != nil {
				return err
			}
			continue
		}
		if err == nil {
			err = fn(h, payload, offset)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
