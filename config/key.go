package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// setting is one field of a Config under its dotted key.
type setting struct {
	key   string
	value reflect.Value // settable when the Config was given by pointer
}

// settings lists every field of cfg in the order in which they are declared.
func settings(cfg *Config) []setting {
	return collect(nil, "", reflect.ValueOf(cfg).Elem())
}

func collect(list []setting, prefix string, section reflect.Value) []setting {
	for i := range section.NumField() {
		key := prefix + section.Type().Field(i).Tag.Get("mapstructure")
		if section.Field(i).Kind() == reflect.Struct {
			list = collect(list, key+".", section.Field(i))
		} else {
			list = append(list, setting{key, section.Field(i)})
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

// EnvName is the environment variable of a key: stomp.listen is BATON_STOMP_LISTEN.
func EnvName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// text is a value as it is written in the file.
func (s setting) text() string {
	if d, ok := s.value.Interface().(time.Duration); ok {
		return durationText(d)
	}
	return fmt.Sprint(s.value.Interface())
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
