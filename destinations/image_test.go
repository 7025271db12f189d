package destinations

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
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
			c.setExtra(i, randomExtra(r, seq))
		}
	}
	return c
}

// randomExtra is a dead letter, or something else, or both.
func randomExtra(r *rand.Rand, seq uint64) (x extra) {
	if r.IntN(3) > 0 {
		x.dead = randomLetter(r)
	}
	if r.IntN(3) > 0 {
		x.content = r.Uint64N(seq) + 1
	}
	if r.IntN(3) == 0 {
		x.props = randomProps(r)
	}
	if r.IntN(3) == 0 {
		x.until = r.Int64()
	}
	if r.IntN(3) == 0 {
		x.latest, x.left = r.Uint64N(seq)+1, r.Int32()
	}
	return x
}

func randomProps(r *rand.Rand) *Props {
	some := func(values ...int64) int64 { return values[r.IntN(len(values))] }
	text := func() string { return []string{"", "a", "*/5 * * * *", strings.Repeat("x", MaxPropBytes)}[r.IntN(4)] }
	return &Props{
		Priority: uint8(r.IntN(MaxPriority + 1)),
		Expires:  some(0, 1, 1_767_323_045_678, math.MaxInt64),
		Deliver:  some(0, 1, 1_767_323_045_678, math.MaxInt64),
		Period:   some(0, 1, math.MaxInt64),
		Repeat:   int32(some(0, 1, -1, math.MaxInt32)),
		Cron:     text(),
		Group:    text(),
		GroupSeq: int32(some(0, 1, -1, math.MinInt32, math.MaxInt32)),
		DedupID:  text(),
		Key:      text(),
		Job:      MessageID{Seq: uint64(some(0, 1, math.MaxInt64)), N: uint64(some(0, 7))},
	}
}

func randomLetter(r *rand.Rand) *DeadLetter {
	return &DeadLetter{
		Reason:      []string{ReasonRejected, ReasonMaxDeliveries, ""}[r.IntN(3)],
		Deliveries:  r.IntN(maxAttempts + 1),
		Time:        time.UnixMilli(r.Int64N(1<<50) - 1<<49).UTC(),
		Destination: []Destination{Queue("a"), Topic("a"), {}}[r.IntN(3)],
		ID:          MessageID{Seq: r.Uint64(), N: r.Uint64N(3)},
	}
}

// stored is what an image of c must have.
func stored(c *chunk) (slots []slot, extras []*extra) {
	for i, s := range c.slots {
		if s.state != slotGone && s.stored() {
			s.state, s.msg = slotReady, nil
			slots = append(slots, s)
			extras = append(extras, c.extra(i))
		}
	}
	if !slices.ContainsFunc(extras, func(x *extra) bool { return x != nil }) {
		extras = nil
	}
	return slots, extras
}

func TestImageRoundTrip(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 3))
	for range 2000 {
		c := randomChunk(r)
		wantSlots, wantExtras := stored(c)
		image := c.makeImage()
		slots, extras := readImage(image)
		if !slices.Equal(slots, wantSlots) || !reflect.DeepEqual(extras, wantExtras) {
			t.Fatalf("read back are\n%+v\n%+v, want\n%+v\n%+v", slots, extras, wantSlots, wantExtras)
		}
		want := outline{n: len(slots), first: slots[0].seq, last: slots[len(slots)-1].seq, expires: never}
		for _, s := range slots {
			want.bytes += int64(s.size)
		}
		want.props(extras)
		if o, err := outlineOf(image); err != nil || o != want {
			t.Fatalf("the outline is %+v, %v; want %+v", o, err, want)
		}
	}
}

// props sets what an outline says of Props.
func (o *outline) props(extras []*extra) {
	for _, x := range extras {
		o.expires = min(o.expires, x.expires())
		if x != nil {
			o.texts += x.props.textBytes()
		}
		if x != nil && x.props != nil && x.props.Deliver != 0 {
			o.waiting++
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

// An image in which a bit of any octet is changed, or cut, is refused or gives slots that
// are in order and in bounds: then nothing that follows can go wrong.
func TestImageDamaged(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(4, 4))
	for range 30 {
		image := randomChunk(r).makeImage()
		for at := range image {
			damaged := slices.Clone(image)
			damaged[at] ^= 1 << r.IntN(8)
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
	slots, extras := readImage(image)
	var bytes int64
	for i, s := range slots {
		if bytes += int64(s.size); i > 0 && s.seq <= slots[i-1].seq {
			t.Fatalf("seq %d follows %d", s.seq, slots[i-1].seq)
		}
	}
	got := outline{n: len(slots), first: slots[0].seq, last: slots[len(slots)-1].seq, bytes: bytes, expires: never}
	got.props(extras)
	if got != o || len(extras) > len(slots) || o.n > chunkSlots {
		t.Fatalf("of %x the outline is %+v, but read are %+v", image, o, got)
	}
}

// What messages in a row take, packed, with all that belongs to a chunk.
func TestImageBytesPerMessage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		most float64
		put  func(i int) (slot, extra)
	}{
		{"one queue, one size", 0.25, func(i int) (slot, extra) { return slot{seq: uint64(i), size: 1088}, extra{} }},
		{"other entries between", 1.3, func(i int) (slot, extra) { return slot{seq: uint64(10*i + i*i%7), size: 1088}, extra{} }},
		{"sizes of any kind", 3.3, func(i int) (slot, extra) {
			return slot{seq: uint64(10*i + i*i%7), size: uint32(100 + i*7919%10_000)}, extra{}
		}},
		{"dead letters", 12, func(i int) (slot, extra) {
			return slot{seq: uint64(2 * i), size: 1088}, extra{content: uint64(2*i - 1), dead: &DeadLetter{
				Reason: ReasonRejected, Deliveries: 3, Time: time.UnixMilli(int64(1e12 + 50*i)),
				Destination: Queue("orders"), ID: MessageID{Seq: uint64(2*i - 1)},
			}}
		}},
	} {
		c := &chunk{}
		for i := range chunkSlots {
			s, x := test.put(1_000_000 + i)
			s.marks = markStored
			c.push(s)
			c.setExtra(len(c.slots)-1, x)
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
