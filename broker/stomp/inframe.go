package stomp

// InFrame reports whether some of a frame has come that is not complete: the
// source is asked for the rest of it.
func (r *Reader) InFrame() bool { return r.stage != betweenFrames }
