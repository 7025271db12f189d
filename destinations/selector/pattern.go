package selector

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// A pattern is what LIKE compares with: pieces with anything between them. The first and the last stand at the ends of
// the text; there is only one if the pattern has no "%".
type pattern struct{ pieces []piece }

// A piece is a run of characters, some of which may be any character ("_").
type piece struct {
	characters []rune // anyCharacter

	octets []byte // the same if all are fixed, and nil if not

	// Of a piece that has to be found and is not fixed: bit i of at[c] is set if character i of the piece may be c,
	// that of atAny if it may be every character.
	at    map[rune]uint64
	atAny uint64
}

const (
	anyCharacter rune = -1

	// maxFloating is how long a piece between two "%" may be if it holds "_": such are found with a word of bits, in one
	// pass over the text.
	maxFloating = 64
)

// newPattern compiles a pattern. The escape is 0 for none; it stands for itself unless "_", "%" or another escape
// follows.
func newPattern(text string, escape rune) (*pattern, error) {
	p := &pattern{pieces: make([]piece, 1)}
	runes := []rune(text)
	for i := 0; i < len(runes); i++ {
		last := &p.pieces[len(p.pieces)-1]
		c := runes[i]
		switch {
		case c == escape && escape != 0 && i+1 < len(runes) && (runes[i+1] == '_' || runes[i+1] == '%' || runes[i+1] == escape):
			i++
			last.characters = append(last.characters, runes[i])
		case c == '%':
			p.pieces = append(p.pieces, piece{})
		case c == '_':
			last.characters = append(last.characters, anyCharacter)
		default:
			last.characters = append(last.characters, c)
		}
	}
	for i := range p.pieces {
		floating := i > 0 && i < len(p.pieces)-1
		if err := p.pieces[i].compile(floating); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *piece) compile(floating bool) error {
	octets := make([]byte, 0, len(p.characters))
	for _, c := range p.characters {
		if c == anyCharacter {
			return p.compileBits(floating)
		}
		octets = utf8.AppendRune(octets, c)
	}
	p.octets = octets
	return nil
}

func (p *piece) compileBits(floating bool) error {
	if !floating {
		return nil
	}
	if len(p.characters) > maxFloating {
		return fmt.Errorf("a pattern with %d characters between two %% and a _ among them, at most %d are allowed",
			len(p.characters), maxFloating)
	}
	p.at = map[rune]uint64{}
	for i, c := range p.characters {
		if c == anyCharacter {
			p.atAny |= 1 << i
		} else {
			p.at[c] |= 1 << i
		}
	}
	return nil
}

// matches takes time in proportion to the text: every piece is looked for once, after the one before it.
func (p *pattern) matches(text []byte) bool {
	rest, ok := p.pieces[0].cut(text)
	if len(p.pieces) == 1 {
		return ok && len(rest) == 0
	}
	for i := 1; ok && i < len(p.pieces)-1; i++ {
		rest, ok = p.pieces[i].find(rest)
	}
	return ok && p.pieces[len(p.pieces)-1].ends(rest)
}

// cut returns what follows the piece in a text that begins with it.
func (p *piece) cut(text []byte) (rest []byte, ok bool) {
	if p.octets != nil {
		return bytes.CutPrefix(text, p.octets)
	}
	for _, want := range p.characters {
		c, n := utf8.DecodeRune(text)
		if n == 0 || want != anyCharacter && want != c {
			return nil, false
		}
		text = text[n:]
	}
	return text, true
}

// ends reports whether a text ends with the piece.
func (p *piece) ends(text []byte) bool {
	if p.octets != nil {
		return bytes.HasSuffix(text, p.octets)
	}
	for i := len(p.characters) - 1; i >= 0; i-- {
		c, n := utf8.DecodeLastRune(text)
		if n == 0 || p.characters[i] != anyCharacter && p.characters[i] != c {
			return false
		}
		text = text[:len(text)-n]
	}
	return true
}

// find returns what follows the first place of the piece in a text.
func (p *piece) find(text []byte) (rest []byte, ok bool) {
	if p.octets != nil {
		_, rest, ok = bytes.Cut(text, p.octets)
		return rest, ok
	}
	var found uint64 // bit i: the first i+1 characters of the piece stand right before here
	last := uint64(1) << (len(p.characters) - 1)
	for len(text) > 0 {
		c, n := utf8.DecodeRune(text)
		text = text[n:]
		if found = (found<<1 | 1) & (p.at[c] | p.atAny); found&last != 0 {
			return text, true
		}
	}
	return nil, false
}
