package peers

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Difference is a step at which Baton and a peer part on purpose: a row of a table in docs/migrating.md, such as
//
//	| `nack: again` | ActiveMQ | `last` | `one last` | a message that failed once is tried again |
type Difference struct {
	Script, Label string
	Peer          string // as scripts say it
	There, Here   string // what the step sees with the peer, and with Baton
	Why           string // why that is better
}

// Mark is a step at which Baton is expected to agree with the peers as soon as a feature is built: a line of pending.txt.
type Mark struct {
	Feature       string
	Script, Label string
}

var row = regexp.MustCompile("(?m)^\\| `([a-z0-9-]+): ([a-z0-9-]+)` \\| (\\w+) \\| `([^`|]+)` \\| `([^`|]+)` \\| ([^|]+) \\|$")

// ParseDifferences reads the rows in a page. A line that looks like a row and is none is an error.
func ParseDifferences(page string) ([]Difference, error) {
	var all []Difference
	for _, found := range row.FindAllStringSubmatch(page, -1) {
		all = append(all, Difference{found[1], found[2], strings.ToLower(found[3]), found[4], found[5], found[6]})
	}
	if rows := strings.Count("\n"+page, "\n| `"); rows != len(all) {
		return nil, fmt.Errorf("%d rows begin with a step, but %d can be read: each needs step, peer, there, here and why", rows, len(all))
	}
	return all, nil
}

func (d Difference) String() string {
	return fmt.Sprintf("| `%s: %s` | %s | `%s` | `%s` | %s |", d.Script, d.Label, d.Peer, d.There, d.Here, d.Why)
}

// ParseMarks reads lines "feature = script: label"; a line that begins with # is a comment.
func ParseMarks(text string) ([]Mark, error) {
	var marks []Mark
	for i, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		feature, step, ok := strings.Cut(line, " = ")
		script, label, ok2 := strings.Cut(step, ": ")
		if !ok || !ok2 {
			return nil, fmt.Errorf("line %d: %q is not: feature = script: label", i+1, line)
		}
		marks = append(marks, Mark{feature, script, label})
	}
	return marks, nil
}

// Compare says what is wrong with the tables, given what each broker's clients saw: transcripts by the broker's name.
func Compare(s *Script, seen map[string][]string, listed []Difference, marks []Mark) []string {
	marks = slices.DeleteFunc(slices.Clone(marks), func(m Mark) bool { return m.Script != s.Name })
	if len(marks) > 0 {
		return agreeing(s, seen, marks)
	}
	var wrong []string
	used := map[Difference]bool{}
	for i, step := range s.Steps {
		for _, peer := range s.Against {
			found := Difference{s.Name, step.Label, peer, seen[peer][i], seen["baton"][i], "…"}
			at := slices.IndexFunc(listed, func(d Difference) bool {
				return d.Script == s.Name && d.Label == step.Label && d.Peer == peer
			})
			switch same := found.There == found.Here; {
			case same:
			case step.Label == "":
				wrong = append(wrong, fmt.Sprintf("line %d differs and has no label to be listed by: %s", step.Line, found))
			case at < 0:
				wrong = append(wrong, "not listed: "+found.String())
			default:
				used[listed[at]] = true
				if listed[at].There != found.There || listed[at].Here != found.Here {
					wrong = append(wrong, fmt.Sprintf("listed: %s\n\tbut it is: %s", listed[at], found))
				}
			}
		}
	}
	for _, d := range listed {
		if d.Script == s.Name && !used[d] {
			wrong = append(wrong, "listed, but there is no such difference: "+d.String())
		}
	}
	return wrong
}

// agreeing are the marks that have served: at their step nobody differs any more.
func agreeing(s *Script, seen map[string][]string, marks []Mark) []string {
	var wrong []string
	for _, m := range marks {
		i := slices.IndexFunc(s.Steps, func(step Step) bool { return step.Label == m.Label })
		if i < 0 {
			wrong = append(wrong, fmt.Sprintf("%s is marked at %s, which is no label of the script", m.Feature, m.Label))
			continue
		}
		differs := slices.ContainsFunc(s.Against, func(peer string) bool { return seen[peer][i] != seen["baton"][i] })
		if !differs {
			wrong = append(wrong, fmt.Sprintf("%s is built, as %s shows (%s): remove its mark from pending.txt", m.Feature, m.Label, seen["baton"][i]))
		}
	}
	return wrong
}
