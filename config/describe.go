package config

import (
	"fmt"
	"strings"
)

// Describe is the effective configuration as YAML, with a comment at each value that is not left at its default: where
// it came from. The error is as of [Load].
func Describe(s Sources) (string, error) {
	l := s.load()
	if err := l.problems.orNil(); err != nil {
		return "", err
	}
	var out strings.Builder
	var open []string // the sections that the last line stands in
	for _, setting := range settings(&l.config) {
		path := strings.Split(setting.key, ".")
		sections, name := path[:len(path)-1], path[len(path)-1]
		openSections(&out, open, sections)
		open = sections
		fmt.Fprintf(&out, "%s%s: %s%s\n", indent(len(sections)), name, setting.yaml(), l.comment(setting.key))
	}
	return out.String(), nil
}

// openSections writes the headings of the sections that were not open before.
func openSections(out *strings.Builder, open, sections []string) {
	same := 0
	for same < len(open) && same < len(sections) && open[same] == sections[same] {
		same++
	}
	for depth := same; depth < len(sections); depth++ {
		fmt.Fprintf(out, "%s%s:\n", indent(depth), sections[depth])
	}
}

func indent(depth int) string { return strings.Repeat("  ", depth) }

func (l *loading) comment(key string) string {
	if given, ok := l.given[key]; ok {
		return " # from " + given.source
	}
	return ""
}

// yaml is the value as YAML: texts are quoted, so that none is read back as something else.
func (s setting) yaml() string {
	if text, ok := s.value.Interface().(string); ok {
		return fmt.Sprintf("%q", text)
	}
	return s.text()
}
