package config

import (
	"reflect"
	"slices"
	"strings"
	"time"
)

// setting is one field of a Config under its dotted key, or of an entry of one of its lists.
type setting struct {
	key   string
	value reflect.Value // settable when the Config was given by pointer
}

// settings lists every field of the struct that of points to, in the order in which they are declared.
func settings(of any) []setting {
	return collect(nil, "", reflect.ValueOf(of).Elem())
}

// present lists those that are set, of a struct with fields that need not be.
func present(of any) []setting {
	return slices.DeleteFunc(settings(of), func(s setting) bool { return s.value.Kind() == reflect.Pointer && s.value.IsNil() })
}

func collect(list []setting, prefix string, section reflect.Value) []setting {
	for i := range section.NumField() {
		switch field := section.Type().Field(i); {
		case field.Anonymous:
			list = collect(list, prefix, section.Field(i))
		case field.Type.Kind() == reflect.Struct:
			list = collect(list, prefix+field.Tag.Get("mapstructure")+".", section.Field(i))
		default:
			list = append(list, setting{prefix + field.Tag.Get("mapstructure"), section.Field(i)})
		}
	}
	return list
}

// Keys lists every key, in the order in which config/baton.yml documents them.
func Keys() []string {
	cfg := Default()
	var keys []string
	for _, s := range settings(&cfg) {
		keys = append(keys, s.key)
	}
	return keys
}

// entryKeys lists the keys that an entry of a list may have.
func entryKeys(list string) []string {
	cfg := Default()
	var keys []string
	for _, s := range settings(&cfg) {
		if s.key == list {
			for _, field := range settings(reflect.New(s.value.Type().Elem()).Interface()) {
				keys = append(keys, field.key)
			}
		}
	}
	return keys
}

// EnvName is the environment variable of a key: stomp.listen is BATON_STOMP_LISTEN.
func EnvName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// durationText is the shortest form that time.ParseDuration reads: 5m rather than 5m0s.
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// didYouMean suggests the name nearest to a mistyped one, or nothing when none is near.
func didYouMean(name string, names []string) string {
	if len(names) == 0 {
		return ""
	}
	nearest := slices.MinFunc(names, func(a, b string) int { return distance(name, a) - distance(name, b) })
	if distance(name, nearest) > 1+len(name)/4 {
		return ""
	}
	return "; did you mean " + nearest + "?"
}

// distance counts the insertions, deletions and replacements that turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
