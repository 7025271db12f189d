package peers

import (
	"errors"
	"fmt"
	"strings"
)

// Script is a client story: a step a line, for every broker that it is meant for.
//
//	against activemq rabbitmq            the peers that it runs against, beside Baton
//	CLIENT connect [HEADER…]
//	CLIENT subscribe ID DESTINATION [HEADER…]
//	CLIENT unsubscribe ID [HEADER…]
//	CLIENT send DESTINATION BODY [HEADER…]
//	CLIENT post DESTINATION BODY [HEADER…]   send, without waiting for a receipt
//	CLIENT reply BODY TEXT [HEADER…]     to the reply-to of the message BODY that the client has read
//	CLIENT ack BODY [HEADER…]            the message BODY that the client has read; nack alike
//	CLIENT begin TX                      commit and abort alike
//	CLIENT read N [NAME…]                the next N messages, with these of their headers
//	CLIENT until BODY [NAME…]            messages up to the one with this body
//	CLIENT quiet                         what has come before a message to oneself comes back
//	CLIENT pause MILLISECONDS            where only time brings what a step is about: expiry
//	CLIENT disconnect                    with a receipt; CLIENT drop closes without a word
//
// A HEADER is name:value, a word with spaces stands in double quotes, {} is a name that no other script has, and
// "= label" at the end of a line names the step, so that a difference can be listed. # starts a comment. Steps that
// write a frame wait for its receipt.
type Script struct {
	Name    string
	Against []string
	Steps   []Step
}

// Step is one line of a script.
type Step struct {
	Line   int // from 1
	Label  string
	Client string
	Verb   string
	Words  []string // what follows the verb
}

// verbs with the number of words that each needs, beyond which there are headers or names of headers.
var verbs = map[string]int{
	"connect": 0, "subscribe": 2, "unsubscribe": 1, "send": 2, "post": 2, "reply": 2, "ack": 1, "nack": 1,
	"begin": 1, "commit": 1, "abort": 1, "read": 1, "until": 1, "quiet": 0, "pause": 1, "disconnect": 0, "drop": 0,
}

// Parse reads a script. An error names the line.
func Parse(name, text string) (*Script, error) {
	s := &Script{Name: name}
	for i, line := range strings.Split(text, "\n") {
		words, err := split(line)
		if err == nil && len(words) > 0 {
			err = s.add(i+1, words)
		}
		if err != nil {
			return nil, fmt.Errorf("%s.txt:%d: %w", name, i+1, err)
		}
	}
	if len(s.Against) == 0 {
		return nil, fmt.Errorf("%s.txt: no line says against whom", name)
	}
	return s, nil
}

func (s *Script) add(line int, words []string) error {
	if words[0] == "against" {
		s.Against = words[1:]
		return nil
	}
	step := Step{Line: line, Client: words[0]}
	if n := len(words); n > 2 && words[n-2] == "=" {
		step.Label, words = words[n-1], words[:n-2]
	}
	if len(words) < 2 {
		return fmt.Errorf("%q does nothing", step.Client)
	}
	step.Verb, step.Words = words[1], words[2:]
	least, known := verbs[step.Verb]
	if !known {
		return fmt.Errorf("no verb is called %q", step.Verb)
	}
	if len(step.Words) < least {
		return fmt.Errorf("%s needs %d words", step.Verb, least)
	}
	s.Steps = append(s.Steps, step)
	return nil
}

// split cuts a line into words. Double quotes hold spaces together and fall away; # ends the line.
func split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	quoted, within := false, false
	for _, c := range line {
		switch {
		case c == '"':
			quoted, within = !quoted, true
		case quoted:
			word.WriteRune(c)
		case c == '#' && !within:
			return words, nil
		case c == ' ' || c == '\t':
			if within {
				words = append(words, word.String())
				word.Reset()
			}
			within = false
		default:
			within = true
			word.WriteRune(c)
		}
	}
	if quoted {
		return nil, errors.New("a quote is not closed")
	}
	if within {
		words = append(words, word.String())
	}
	return words, nil
}
