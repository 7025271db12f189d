package destinations

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// randomChunk is full of slots of all kinds. How wide its columns are differs.
func randomChunk(r *rand.Rand) *chunk {
	c := &chunk{full: true}
	spread := []uint64{1, 2, 100, 1 << 20, 1 << 40}[r.IntN(5)]
	seq := r.Uint64N(1000)
	for i := range chunkSlots {
		s := slot{state: slotState(r.IntN(4)), size: messageOverhead + 1, marks: markStored}
		if seq += 1 + r.Uint64N(spread); spread > 2 {
			s.size += uint32(r.Uint64N(min(spread, 1<<30)))
			s.attempts = uint16(r.Uint64N(min(spread, maxAttempts+1)))
			s.marks |= slotMarks(r.IntN(2)) * markReturned
		}
		if r.IntN(10) == 0 {
			s.marks = 0
		}
		s.seq = seq
		c.slots = append(c.slots, s)
		if s.state != slotGone {
			c.live++
		}
		if spread == 100 && r.IntN(3) > 0 {
			for len(c.letters) < i {
				c.letters = append(c.letters, nil)
			}
			c.letters = append(c.letters, randomLetter(r, seq))
		}
	}
	return c
}

func randomLetter(r *rand.Rand, seq uint64) *DeadLetter {
	return &DeadLetter{
		Reason:      []string{ReasonRejected, ReasonMaxDeliveries, ""}[r.IntN(3)],
		Deliveries:  r.IntN(maxAttempts + 1),
		Time:        time.UnixMilli(r.Int64N(1<<50) - 1<<49).UTC(),
		Destination: []Destination{Queue("a"), Topic("a"), {}}[r.IntN(3)],
		ID:          MessageID{Seq: r.Uint64(), N: r.Uint64N(3)},
		content:     r.Uint64N(seq) + 1,
	}
}

// stored is what an image of c must have.
func stored(c *chunk) (slots []slot, letters []*DeadLetter) {
	for i, s := range c.slots {
		if s.state != slotGone && s.stored() {
			s.state, s.msg = slotReady, nil
			slots = append(slots, s)
			l := c.letter(i)
			if !s.stored() {
				l = nil
			}
			letters = append(letters, l)
		}
	}
	if !slices.ContainsFunc(letters, func(l *DeadLetter) bool { return l != nil }) {
		letters = nil
	}
	return slots, letters
}

func TestImageRoundTrip(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 3))
	for range 2000 {
		c := randomChunk(r)
		wantSlots, wantLetters := stored(c)
		image := c.makeImage()
		slots, letters := readImage(image)
		if !slices.Equal(slots, wantSlots) || !reflect.DeepEqual(letters, wantLetters) {
			t.Fatalf("read back are\n%+v\n%+v, want\n%+v\n%+v", slots, letters, wantSlots, wantLetters)
		}
		want := outline{n: len(slots), first: slots[0].seq, last: slots[len(slots)-1].seq}
		for _, s := range slots {
			want.bytes += int64(s.size)
		}
		if o, err := outlineOf(image); err != nil || o != want {
			t.Fatalf("the outline is %+v, %v; want %+v", o, err, want)
		}
	}
}

func TestImageOfNothing(t *testing.T) {
	t.Parallel()
	c := &chunk{slots: []slot{{seq: 1, state: slotGone, marks: markStored}, {seq: 1, msg: &Message{}}}}
	if image := c.makeImage(); image != nil {
		t.Errorf("a chunk with nothing stored has the image %x", image)
	}
}

// An image that is changed in any bit, or cut, is refused or gives slots that
// are in order and in bounds: then nothing that follows can go wrong.
func TestImageDamaged(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(4, 4))
	for range 30 {
		image := randomChunk(r).makeImage()
		for bit := range len(image) * 8 {
			damaged := slices.Clone(image)
			damaged[bit/8] ^= 1 << (bit % 8)
			checkImage(t, damaged)
		}
		for n := range image {
			checkImage(t, image[:n])
		}
	}
}

func checkImage(t *testing.T, image []byte) {
	t.Helper()
	o, err := outlineOf(image)
	if err != nil {
		return
	}
	slots, letters := readImage(image)
	var bytes int64
	for i, s := range slots {
		if bytes += int64(s.size); i > 0 && s.seq <= slots[i-1].seq {
			t.Fatalf("seq %d follows %d", s.seq, slots[i-1].seq)
		}
	}
	got := outline{n: len(slots), first: slots[0].seq, last: slots[len(slots)-1].seq, bytes: bytes}
	if got != o || len(letters) > len(slots) || o.n > chunkSlots {
		t.Fatalf("of %x the outline is %+v, but read are %+v", image, o, got)
	}
}

// What messages in a row take, packed, with all that belongs to a chunk.
func TestImageBytesPerMessage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		most float64
		put  func(i int) (slot, *DeadLetter)
	}{
		{"one queue, one size", 0.25, func(i int) (slot, *DeadLetter) { return slot{seq: uint64(i), size: 1088}, nil }},
		{"other entries between", 1.3, func(i int) (slot, *DeadLetter) { return slot{seq: uint64(10*i + i*i%7), size: 1088}, nil }},
		{"sizes of any kind", 3.3, func(i int) (slot, *DeadLetter) {
			return slot{seq: uint64(10*i + i*i%7), size: uint32(100 + i*7919%10_000)}, nil
		}},
		{"dead letters", 12, func(i int) (slot, *DeadLetter) {
			return slot{seq: uint64(2 * i), size: 1088}, &DeadLetter{
				Reason: ReasonRejected, Deliveries: 3, Time: time.UnixMilli(int64(1e12 + 50*i)),
				Destination: Queue("orders"), ID: MessageID{Seq: uint64(2*i - 1)}, content: uint64(2*i - 1),
			}
		}},
	} {
		c := &chunk{}
		for i := range chunkSlots {
			s, l := test.put(1_000_000 + i)
			s.marks = markStored
			c.slots, c.letters = append(c.slots, s), append(c.letters, l)
		}
		if got := float64(len(c.makeImage())) / chunkSlots; got > test.most {
			t.Errorf("%s: %.2f octets a message, want at most %.2f", test.name, got, test.most)
		}
	}
}

// BenchmarkImage packs and unpacks the messages of a queue that shares the log
// with others.
func BenchmarkImage(b *testing.B) {
	for _, varied := range []bool{false, true} {
		c := &chunk{}
		seq := uint64(1_000_000)
		for i := range chunkSlots {
			s := slot{seq: seq, size: 1088, marks: markStored}
			if seq++; varied {
				seq += uint64(i * 7919 % 50)
				s.size += uint32(i * 7919 % 500)
			}
			c.slots = append(c.slots, s)
		}
		image := c.makeImage()
		for name, fn := range map[string]func(){
			"pack":   func() { c.makeImage() },
			"check":  func() { _, _ = outlineOf(image) },
			"unpack": func() { readImage(image) },
		} {
			b.Run(fmt.Sprintf("%s/varied=%v", name, varied), func(b *testing.B) {
				for b.Loop() {
					fn()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/chunkSlots, "ns/message")
			})
		}
	}
}
