package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Describe is the effective configuration as YAML, with a comment at each value that is not left at its default: where
// it came from. The error is as of [Load].
func Describe(s Sources) (string, error) {
	l := s.load()
	if err := l.problems.orNil(); err != nil {
		return "", err
	}
	var out strings.Builder
	describe(&out, settings(&l.config), l.comment)
	return out.String(), nil
}

// DescribePolicy is the policy of a destination that these rules of the list destinations match, of which the later ones
// count more, as YAML with a comment at each value: the rule that it is from, or the key of the default.
func (c Config) DescribePolicy(rules []int) string {
	policy := c.DefaultPolicy()
	fields, from := settings(&policy), map[string]string{}
	for _, field := range fields {
		from[field.key] = " # default"
		if key, ok := defaultKeys[field.key]; ok {
			from[field.key] = " # from " + key
		}
	}
	for _, i := range rules {
		for at, field := range settings(&c.Destinations[i].Policy) {
			if !field.value.IsNil() {
				fields[at].value = field.value
				from[field.key] = fmt.Sprintf(" # from destinations[%d], %s", i, c.Destinations[i].Match)
			}
		}
	}
	var out strings.Builder
	describe(&out, fields, func(key string) string { return from[key] })
	return out.String()
}

// describe writes settings as YAML.
func describe(out *strings.Builder, list []setting, comment func(key string) string) {
	var open []string // the sections that the last line stands in
	for _, setting := range list {
		path := strings.Split(setting.key, ".")
		sections, name := path[:len(path)-1], path[len(path)-1]
		openSections(out, open, sections)
		open = sections
		fmt.Fprintf(out, "%s%s:", indent(len(sections)), name)
		if setting.hasEntries() {
			fmt.Fprintf(out, "%s\n%s", comment(setting.key), entriesText(setting.value))
		} else {
			fmt.Fprintf(out, " %s%s\n", yaml(setting.value), comment(setting.key))
		}
	}
}

// hasEntries says that the value is a list of entries that have keys, and not empty.
func (s setting) hasEntries() bool {
	return s.value.Kind() == reflect.Slice && s.value.Type().Elem().Kind() == reflect.Struct && s.value.Len() > 0
}

// entriesText is a list of entries, each with what is set in it.
func entriesText(list reflect.Value) string {
	var out strings.Builder
	for i := range list.Len() {
		var entry strings.Builder
		describe(&entry, present(list.Index(i).Addr().Interface()), func(string) string { return "" })
		lines := strings.ReplaceAll(strings.TrimSuffix(entry.String(), "\n"), "\n", "\n"+indent(2))
		fmt.Fprintf(&out, "%s- %s\n", indent(1), lines)
	}
	return out.String()
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

// yaml is a value as YAML: texts are quoted, so that none is read back as something else.
func yaml(value reflect.Value) string {
	switch value.Kind() {
	case reflect.Pointer:
		return yaml(value.Elem())
	case reflect.Slice:
		items := make([]string, value.Len())
		for i := range items {
			items[i] = yaml(value.Index(i))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case reflect.String:
		return fmt.Sprintf("%q", value)
	}
	if d, ok := value.Interface().(time.Duration); ok {
		return durationText(d)
	}
	return fmt.Sprint(value.Interface())
}
