package stomp

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// only reads the one frame that in holds; it stays valid, for its Reader is not used again.
func only(t testing.TB, v Version, in string) *Frame {
	t.Helper()
	f, err := NewReader(strings.NewReader(in), v, AfterConnect()).Next()
	if err != nil {
		t.Fatalf("%q: %v", in, err)
	}
	return f
}

func TestForm(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v                Version
		lines, block     string
		plain, canonical bool
	}{
		{V10, "a:b\n", "a:b\n", true, true},
		{V10, "a: b\r\n", "a:b\n", true, true},
		{V10, "a:b:c\n", "a:b:c\n", false, true},
		{V10, "a:\\n\n", "a:\\n\n", false, true},
		{V10, "a:b\rc\n", "a:b\rc\n", false, false},
		{V10, "\x01a:b\n", "\x01a:b\n", false, false},
		{V11, "a:b\n", "a:b\n", true, true},
		{V11, "a: b\n", "a: b\n", false, true},
		{V11, "a :b\n", "a :b\n", false, true},
		{V11, "a:\\c\n", "a:\\c\n", false, true},
		{V11, "a:b\r\n", "a:b\r\n", false, true},
		{V11, "a:b:\n", "a:b:\n", false, false},
		{V12, "a:b\r\n", "a:b\n", true, true},
		{V12, "a:b\r\r\n", "a:b\r\n", false, false},
		{V12, "a:\\r\n", "a:\\r\n", false, true},
		{V12, "a:b:\n", "a:b:\n", false, false},
		{V12, "", "", true, true},
	} {
		block, form := only(t, c.v, "SEND\n"+c.lines+"\n\x00").AppendHeaders([]byte("x"), nil)
		if string(block) != "x"+c.block || form.Version() != c.v || form.Plain() != c.plain || form.Canonical() != c.canonical {
			t.Errorf("%s %q: block %q, version %s, plain %v, canonical %v", c.v, c.lines, block, form.Version(), form.Plain(), form.Canonical())
		}
		if again := FormOf(block[1:], c.v); again != form {
			t.Errorf("%s %q: FormOf says %04b, AppendHeaders %04b", c.v, c.lines, again, form)
		}
	}
}

// TestFormBits holds the bits, which are stored on disk.
func TestFormBits(t *testing.T) {
	t.Parallel()
	for form, want := range map[Form]Form{
		FormOf([]byte("a:b\n"), V10):    0b1100,
		FormOf([]byte("a:b\n"), V11):    0b1101,
		FormOf([]byte("a:b\n"), V12):    0b1110,
		FormOf([]byte("a:\\c\n"), V12):  0b1010,
		FormOf([]byte("a:b:c\n"), V12):  0b0010,
		FormOf([]byte("a:b\rc\n"), V10): 0b0000,
	} {
		if form != want {
			t.Errorf("%04b, want %04b", form, want)
		}
	}
}

func TestAppendHeaders(t *testing.T) {
	t.Parallel()
	f := only(t, V12, "SEND\r\ndestination:/queue/a\r\nk\\c:1\nk\\c:2\nfoo:3\n"+DroppedHeader+":9\nreceipt:4\nfoo:5\n\n\x00")
	var asked []string
	block, _ := f.AppendHeaders(nil, func(name []byte) bool {
		asked = append(asked, string(name))
		return string(name) == "receipt" || string(name) == "destination"
	})
	if string(block) != "k\\c:1\nfoo:3\n" {
		t.Errorf("got %q", block)
	}
	if !slices.Contains(asked, "k:") {
		t.Errorf("drop was asked for %q, want decoded names", asked)
	}
	if whole, _ := f.AppendHeaders(nil, nil); len(whole) > f.HeaderBytes() {
		t.Errorf("%d bytes, more than the bound %d", len(whole), f.HeaderBytes())
	}
}

// TestAppendHeadersOfMany shows that names which differ all stay and that repeated ones all go, whatever their number.
func TestAppendHeadersOfMany(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 3, 64, 5000} {
		var in, want strings.Builder
		for i := range n {
			fmt.Fprintf(&in, "h%d:1\n", i)
			fmt.Fprintf(&want, "h%d:1\n", i)
		}
		for i := range n {
			fmt.Fprintf(&in, "h%d:2\n", i)
		}
		l := Limits{HeaderLineBytes: 100, Headers: 2 * n, HeaderBytes: 1 << 20}
		f, err := NewReader(strings.NewReader("SEND\n"+in.String()+"\n\x00"), V12, l).Next()
		if err != nil {
			t.Fatal(err)
		}
		if block, _ := f.AppendHeaders(nil, nil); string(block) != want.String() {
			t.Errorf("%d names: got %d bytes, want %d", n, len(block), want.Len())
		}
	}
}

func TestAppendBlock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from        Version
		block       string
		to          Version
		want        string
		description string
	}{
		{V12, "x:a\\nmessage-id\\cevil\\n\\nbody\n", V10, DroppedHeader + ":1\n", "injected lines do not reach 1.0"},
		{V12, "x:a\\nmessage-id\\cevil\n", V11, "x:a\\nmessage-id\\cevil\n", "they stay escaped in 1.1"},
		{V10, "x:a\\nb\n", V12, "x:a\\\\nb\n", "two octets in 1.0 are no escape in 1.2"},
		{V10, "x:a\\tb:c\n", V11, "x:a\\\\tb\\cc\n", "nor an undefined one in 1.1"},
		{V11, "x:a\r\n", V12, "x:a\\r\n", "CR is not eaten by 1.2"},
		{V11, "x:a\r\n", V10, DroppedHeader + ":1\n", "nor by 1.0"},
		{V12, "x:a\\rb\n", V11, "x:a\rb\n", "CR is raw in 1.1"},
		{V12, "x:a:b\n", V12, "x:a\\cb\n", "a raw colon is escaped on output"},
		{V12, "x:a\rb\n", V12, "x:a\\rb\n", "so is a raw CR"},
		{V12, "a\\cb:c\nd:e\n", V10, "d:e\n" + DroppedHeader + ":1\n", "colon in a name"},
		{V12, "a:b\\cc\n", V10, "a:b:c\n", "colon in a value"},
		{V12, " message-id:evil\n", V10, DroppedHeader + ":1\n", "a name that 1.0 trims to another"},
		{V12, "message-id\x0b:evil\n", V10, DroppedHeader + ":1\n", "or that some 1.0 client trims"},
		{V12, "a: b \n", V10, "a: b \n", "a value may be trimmed"},
		{V12, "a:b\n", V10, "a:b\n", "plain"},
		{V12, "a:b\\cc\n", V12, "a:b\\cc\n", "canonical"},
		{V12, DroppedHeader + ":9\nx:\\n\n", V10, DroppedHeader + ":2\n", "the count is ours"},
	} {
		form := FormOf([]byte(c.block), c.from)
		got := string(AppendBlock([]byte("old\n"), []byte(c.block), form, c.to))
		if got != "old\n"+c.want {
			t.Errorf("%s: %s %q to %s: got %q, want %q", c.description, c.from, c.block, c.to, got, c.want)
		}
	}
}

// TestAppendBlockOfBadBlock shows that a block that no Reader made does no harm in an encoding.
func TestAppendBlockOfBadBlock(t *testing.T) {
	t.Parallel()
	const bad = "no colon\n:no name\nx:\\t\nx:\x00\n\n\ny:1"
	if got := string(AppendBlock(nil, []byte(bad), Form(V12), V11)); got != "y:1\n"+DroppedHeader+":6\n" {
		t.Errorf("got %q", got)
	}
}

// checkTranscoding parses in as a SEND of version from, encodes its headers for version to, and parses that: the headers
// must be those of in, without the repeated ones and content-length, less those that to cannot express, which are counted.
func checkTranscoding(t interface{ Fatalf(string, ...any) }, from, to Version, in []byte) {
	f, err := NewReader(bytes.NewReader(in), from, AfterConnect()).Next()
	if err != nil {
		return
	}
	block, form := f.AppendHeaders(nil, func(name []byte) bool { return string(name) == "content-length" })
	want := expressible(f, to)
	out := AppendBlock(nil, block, form, to)
	if len(out) > 2*len(block)+40 {
		t.Fatalf("%d bytes became %d", len(block), len(out))
	}
	const before, after = "first:1\n", "last:2\n\nbody\x00"
	stream := "SEND\n" + before + string(out) + after
	l := Limits{HeaderLineBytes: 1 << 20, Headers: 1 << 10, HeaderBytes: 1 << 20, BodyBytes: 1 << 10}
	r := NewReader(strings.NewReader(stream), to, l)
	g, err := r.Next()
	if err != nil {
		t.Fatalf("%s %q became %s %q: %v", from, block, to, out, err)
	}
	if string(g.Body) != "body" {
		t.Fatalf("%s %q became %s %q: the body is %q", from, block, to, out, g.Body)
	}
	var got []string
	for name, value := range g.Headers() {
		got = append(got, string(name), string(value))
	}
	want = slices.Concat([]string{"first", "1"}, want, []string{"last", "2"})
	if !slices.Equal(got, want) {
		t.Fatalf("%s %q became %s %q: read as %q, want %q", from, block, to, out, got, want)
	}
}

// expressible returns the names and values of f that a client of version v must read: an oracle that knows nothing of
// how they are encoded.
func expressible(f *Frame, v Version) []string {
	var out []string
	seen := map[string]bool{DroppedHeader: true, "content-length": true}
	dropped := 0
	for name, value := range f.Headers() {
		n, x := string(name), string(value)
		if seen[n] {
			continue
		}
		seen[n] = true
		edge := n[0] <= ' ' || n[len(n)-1] <= ' '
		if v == V10 && (edge || strings.ContainsAny(n, ":\r\n") || strings.ContainsAny(x, "\r\n")) {
			dropped++
			continue
		}
		if v == V10 {
			x = strings.Trim(x, " \t")
		}
		out = append(out, n, x)
	}
	if dropped > 0 {
		out = append(out, DroppedHeader, strconv.Itoa(dropped))
	}
	return out
}

func TestTranscoding(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		alphabet := rapid.SampledFrom([]string{"a", "b", "\\\\", "\\n", "\\c", "\\r", ":", "\r", " ", "\t", "\x01", "é", "\xff", "message-id"})
		text := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(alphabet, 0, 6).Draw(t, "parts"), "") })
		var in strings.Builder
		in.WriteString("SEND\n")
		for range rapid.IntRange(0, 6).Draw(t, "headers") {
			in.WriteString(text.Draw(t, "name") + ":" + text.Draw(t, "value") + "\n")
		}
		in.WriteString("\n\x00")
		for _, from := range allVersions {
			for _, to := range allVersions {
				checkTranscoding(t, from, to, []byte(in.String()))
			}
		}
	})
}

// TestAppendHeaderRoundTrip shows that what AppendHeader writes is read back as it was.
func TestAppendHeaderRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := "n" + rapid.StringOf(rapid.RuneFrom([]rune("ab\\\n:\r"))).Draw(t, "name") + "n"
		value := rapid.StringOf(rapid.RuneFrom([]rune("ab\\\n:\r ☃"))).Draw(t, "value")
		for _, v := range []Version{V11, V12} {
			stream := "SEND\n" + string(AppendHeader(nil, v, name, value)) + "\n\x00"
			f, err := NewReader(strings.NewReader(stream), v, AfterConnect()).Next()
			if err != nil {
				t.Fatalf("%s: %q: %v", v, stream, err)
			}
			if got, ok := f.Header(name); !ok || string(got) != value {
				t.Fatalf("%s: read %q back as %q", v, value, got)
			}
		}
	})
}

func TestAppendUnescaped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v        Version
		in, want string
		ok       bool
	}{
		{V10, `a\c\t`, `a\c\t`, true}, {V11, `a\c\\c\n`, "a:\\c\n", true}, {V11, `\r`, "", false},
		{V12, `\r\\`, "\r\\", true}, {V12, `a\t`, "", false}, {V12, `a\`, "", false}, {V12, "", "", true},
	} {
		got, ok := AppendUnescaped([]byte("x"), []byte(c.in), c.v)
		if ok != c.ok || ok && string(got) != "x"+c.want {
			t.Errorf("%s %q: %q, %v", c.v, c.in, got, ok)
		}
	}
}
