package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
)

const (
	envPrefix      = "BATON_"
	envPasscode    = "BATON_PASSCODE" // belongs to the clients `baton send` and `baton receive`, not to a broker
	commandLine    = "command line"
	maxConfigBytes = 1 * MiB
)

// Sources are where settings come from; what stands later wins. The zero value gives the defaults.
type Sources struct {
	File  string         // YAML; none when empty
	Env   []string       // "NAME=value", as os.Environ gives them; only BATON_ variables count, an empty one is unset
	Flags map[string]any // values by key, for the flags that were given

	// Check finds what else is wrong with a configuration: what this package cannot know, such as the syntax of a name.
	Check func(Config) Problems
}

// Load reads all sources and validates the result. The error is a [Problems] with everything that is wrong.
func Load(s Sources) (Config, error) {
	l := s.load()
	return l.config, l.problems.orNil()
}

// loading is the work of one Load.
type loading struct {
	config   Config
	check    func(Config) Problems // or nil
	given    map[string]given      // by key: what was set, by the source that won
	problems Problems
}

type given struct {
	value  any
	source string
}

func (s Sources) load() *loading {
	l := &loading{config: Default(), check: s.Check, given: map[string]given{}}
	l.readFile(s.File)
	l.readEnv(s.Env)
	for _, key := range slices.Sorted(maps.Keys(s.Flags)) {
		l.set(key, s.Flags[key], commandLine)
	}
	l.decode()
	l.validate()
	return l
}

// set notes a value, or the problem that its key is unknown.
func (l *loading) set(key string, value any, source string) {
	keys := Keys()
	if !slices.Contains(keys, key) {
		l.problems = append(l.problems, Problem{source, key, unknown(key, keys)})
		return
	}
	l.given[key] = given{value, source}
}

func unknown(key string, keys []string) string {
	for _, known := range keys {
		switch {
		case strings.HasPrefix(known, key+"."):
			return "is a section and takes no value of its own; one of its keys is " + known
		case strings.HasPrefix(key, known+"."):
			return "unknown key; " + known + " takes one value"
		}
	}
	return "unknown key" + didYouMean(key, keys)
}

func (l *loading) readFile(path string) {
	if path == "" {
		return
	}
	file := viper.New()
	if err := readYAML(file, path); err != nil {
		l.problems = append(l.problems, Problem{Source: path, Text: err.Error()})
		return
	}
	for _, key := range slices.Sorted(slices.Values(file.AllKeys())) {
		// An entry without a value, such as a section whose keys are all commented out, leaves the defaults.
		if value := file.Get(key); value != nil {
			l.set(key, value, path)
		}
	}
}

func readYAML(file *viper.Viper, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return plain(err)
	}
	if info.Size() > int64(maxConfigBytes) {
		return fmt.Errorf("%d bytes are too many for a configuration: at most %s", info.Size(), maxConfigBytes)
	}
	file.SetConfigFile(path)
	file.SetConfigType("yaml")
	return plain(file.ReadInConfig())
}

// plain drops from an error what the problem's line says already: the path, and that this was a configuration.
func plain(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	var parse viper.ConfigParseError
	if errors.As(err, &parse) {
		return errors.New(strings.Join(strings.Fields(parse.Unwrap().Error()), " "))
	}
	return err
}

func (l *loading) readEnv(env []string) {
	keyOf := map[string]string{}
	for _, key := range Keys() {
		keyOf[EnvName(key)] = key
	}
	names := slices.Sorted(maps.Keys(keyOf))
	for _, entry := range slices.Sorted(slices.Values(env)) {
		name, value, _ := strings.Cut(entry, "=")
		key, known := keyOf[name]
		switch {
		case !strings.HasPrefix(name, envPrefix) || name == envPasscode:
		case known && value == "":
		case known:
			l.set(key, value, name)
		default:
			l.problems = append(l.problems, Problem{Source: name, Text: "unknown variable" + didYouMean(name, names)})
		}
	}
}

// decode puts what was given into the typed fields. A field whose value is bad keeps its default and gets a problem.
func (l *loading) decode() {
	v := viper.NewWithOptions(viper.WithDecodeHook(mapstructure.DecodeHookFuncValue(convert)))
	for key, given := range l.given {
		v.Set(key, given.value)
	}
	for _, err := range decodeErrors(v.UnmarshalExact(&l.config)) {
		l.misfit(err.Name(), err.Unwrap().Error())
	}
}

// misfit notes what could not be decoded.
func (l *loading) misfit(key, text string) {
	source := l.source(key)
	names, unused := strings.CutPrefix(text, "has invalid keys: ")
	if !unused {
		l.problems = append(l.problems, Problem{source, key, text})
		return
	}
	list, _, _ := strings.Cut(key, "[")
	_, section, _ := strings.Cut(key+".", "].") // "", or "redelivery."
	for name := range strings.SplitSeq(names, ", ") {
		text := "unknown key" + didYouMean(section+name, entryKeys(list))
		l.problems = append(l.problems, Problem{source, key + "." + name, text})
	}
}

// source is where the value of a key came from, or of the list that it is in.
func (l *loading) source(key string) string {
	list, _, _ := strings.Cut(key, "[")
	return l.given[list].source
}

// decodeErrors flattens the tree of wrapped and joined errors that decoding returns: one error a key.
func decodeErrors(err error) []*mapstructure.DecodeError {
	switch e := err.(type) {
	case nil:
		return nil
	case *mapstructure.DecodeError:
		return []*mapstructure.DecodeError{e}
	case interface{ Unwrap() error }:
		return decodeErrors(e.Unwrap())
	case interface{ Unwrap() []error }:
		var list []*mapstructure.DecodeError
		for _, joined := range e.Unwrap() {
			list = append(list, decodeErrors(joined)...)
		}
		return list
	}
	panic("BUG: configuration error without a key: " + err.Error())
}

// convert reads a value from YAML, the environment or a flag as the type of its field. Texts are read strictly, so that
// a mistake is a problem and never a silent zero.
func convert(from, to reflect.Value) (any, error) {
	switch to.Kind() {
	case reflect.Pointer: // comes again as what it points to
		return from.Interface(), nil
	case reflect.Struct:
		return parseSection(from)
	case reflect.Slice:
		list, err := parseList(from.Interface())
		if err != nil && to.Type().Elem() == reflect.TypeFor[URL]() {
			err = errors.New("want a list, such as [nats://127.0.0.1:61622]") // what was given may hold a password
		}
		return list, err
	}
	text := fmt.Sprint(from.Interface())
	switch to.Interface().(type) {
	case time.Duration:
		return parse(text, time.ParseDuration, "a duration with its unit, such as 5s, 100ms or 5m")
	case Bytes:
		return ParseBytes(text)
	case int:
		return parse(text, strconv.Atoi, "a whole number")
	case float64:
		return parse(text, parseFloat, "a number, such as 2.0")
	case bool:
		return parse(text, strconv.ParseBool, "true or false")
	case string:
		return parseText(from.Interface())
	case Secret:
		return parseHidden[Secret](from.Interface())
	case URL:
		return parseHidden[URL](from.Interface())
	}
	panic("BUG: no conversion to " + to.Type().String())
}

func parseSection(value reflect.Value) (any, error) {
	if value.Kind() != reflect.Map {
		return nil, fmt.Errorf("%v: want keys with values", value)
	}
	return value.Interface(), nil
}

// parseList takes a list from the file, or as a text of YAML: "[{match: /queue/a}]".
func parseList(value any) (any, error) {
	const want = "want a list, such as [] or [a, b]"
	list := value
	if text, ok := value.(string); ok {
		v := viper.New()
		v.SetConfigType("yaml")
		if err := v.ReadConfig(strings.NewReader("list: " + text)); err != nil {
			return nil, fmt.Errorf("%q: %s (%w)", text, want, plain(err))
		}
		if list = v.Get("list"); len(v.AllKeys()) > 1 {
			return nil, fmt.Errorf("%q: %s, and nothing else", text, want)
		}
	}
	if _, ok := list.([]any); !ok {
		return nil, fmt.Errorf("%v: %s", value, want)
	}
	return list, nil
}

func parse[T any](text string, read func(string) (T, error), want string) (any, error) {
	value, err := read(text)
	if err != nil {
		return nil, fmt.Errorf("%q: want %s", text, want)
	}
	return value, nil
}

func parseFloat(text string) (float64, error) { return strconv.ParseFloat(text, 64) }

// parseHidden reads a text that must not be shown, also where it is wrong.
func parseHidden[T ~string](value any) (any, error) {
	text, err := parseText(value)
	if err != nil {
		return nil, errors.New("want a text")
	}
	return T(text.(string)), nil
}

func parseText(value any) (any, error) {
	switch value.(type) {
	case map[string]any, []any:
		return nil, fmt.Errorf("%v: want a text", value)
	}
	return fmt.Sprint(value), nil
}

// validate adds what contradicts, save for keys whose value could not even be read.
func (l *loading) validate() {
	problems := l.config.problems()
	if l.check != nil {
		problems = append(problems, l.check(l.config)...)
	}
	for _, problem := range problems {
		if !l.problems.has(problem.Key) {
			problem.Source = l.source(problem.Key)
			l.problems = append(l.problems, problem)
		}
	}
}
