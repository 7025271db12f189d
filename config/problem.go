package config

import "strings"

// Problem is one thing wrong with a configuration.
type Problem struct {
	Source string // the file, the environment variable or "command line"; empty for a default
	Key    string // stomp.listen; empty when the whole source is at fault
	Text   string // what is wrong and what would be right
}

// String is the problem in one line: "baton.yml: stomp.listen: …".
func (p Problem) String() string {
	parts := []string{p.Source, p.Key, p.Text}
	var given []string
	for _, part := range parts {
		if part != "" {
			given = append(given, part)
		}
	}
	return strings.Join(given, ": ")
}

// Problems is everything wrong with a configuration: the error of [Load] and [Config.Validate].
type Problems []Problem

// Error is the problems, one a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// has says whether one is at this key, or at the section or entry that it is in.
func (p Problems) has(key string) bool {
	for _, problem := range p {
		if problem.Key == key || problem.Key != "" && strings.HasPrefix(key, problem.Key+".") {
			return true
		}
	}
	return false
}

// orNil keeps a nil error nil: an empty Problems in an error is not.
func (p Problems) orNil() error {
	if len(p) == 0 {
		return nil
	}
	return p
}
