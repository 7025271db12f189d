package destinations

import (
	"testing"
	"unsafe"
)

// One of these is made for each frame that comes or goes, and copied on its way.
func TestCommandsAndOutputsAreSmall(t *testing.T) {
	t.Parallel()
	if n := unsafe.Sizeof(Command{}); n > 128 {
		t.Errorf("a command takes %d octets, want two cache lines", n)
	}
	if n := unsafe.Sizeof(Output{}); n > 128 {
		t.Errorf("an output takes %d octets, want two cache lines", n)
	}
}
