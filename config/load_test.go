package config_test

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"baton/config"
)

// file writes YAML to a file of its own and returns its path.
func file(t *testing.T, yaml string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "baton.yml")
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadNothingIsDefault(t *testing.T) {
	t.Parallel()
	got, err := config.Load(config.Sources{Env: []string{"HOME=/root", "BATON_PASSCODE=secret", "BATON_LOG_LEVEL="}})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, config.Default()) {
		t.Errorf("got %+v, want the defaults", got)
	}
}

func TestDefaultIsValid(t *testing.T) {
	t.Parallel()
	if err := config.Default().Validate(); err != nil {
		t.Error(err)
	}
}

func TestLaterSourcesWin(t *testing.T) {
	t.Parallel()
	got, err := config.Load(config.Sources{
		File: file(t, "stomp: {listen: '127.0.0.1:1', linger: 1s, heartbeat: {grace: 3}}\nlimits: {body: 1048576}\nqueues:\n"),
		Env: []string{
			"BATON_STOMP_LISTEN=127.0.0.1:2", "BATON_STOMP_LINGER=3s", "BATON_STOMP_HEARTBEAT_SEND=250ms",
			"BATON_STOMP_HIDE_SERVER=true", "BATON_LIMITS_HEADERS=7", "BATON_JOURNAL_BUFFER=2MiB",
		},
		Flags: map[string]any{"stomp.listen": "127.0.0.1:3"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.STOMP.Listen = "127.0.0.1:3"
	want.STOMP.Linger = 3 * time.Second
	want.STOMP.Heartbeat.Send = 250 * time.Millisecond
	want.STOMP.Heartbeat.Grace = 3
	want.STOMP.HideServer = true
	want.Limits.Headers = 7
	want.Limits.Body = config.MiB
	want.Journal.Buffer = 2 * config.MiB
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

// Every key can be set by its environment variable: each is given a bad value, and each is named.
func TestEveryKeyIsAnEnvironmentVariable(t *testing.T) {
	t.Parallel()
	for _, key := range config.Keys() {
		got, err := config.Describe(config.Sources{Env: []string{config.EnvName(key) + "=" + valueFor(t, key)}})
		if err != nil {
			t.Errorf("%s: %v", key, err)
		} else if !strings.Contains(got, "# from "+config.EnvName(key)) {
			t.Errorf("%s: %s had no effect", key, config.EnvName(key))
		}
	}
}

// valueFor is the default of a key as text, which is always a good value, or any text where the default is none.
func valueFor(t *testing.T, key string) string {
	t.Helper()
	defaults, err := config.Describe(config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	for k, value := range entries(defaults) {
		if k == key {
			return cmp.Or(strings.Trim(value, `"`), "some-text-or-other")
		}
	}
	t.Fatalf("%s is not described", key)
	return ""
}

func TestAllProblemsAreFoundAtOnce(t *testing.T) {
	t.Parallel()
	path := file(t, `
stomp:
  lissten: 127.0.0.1:1
  connect_timeout: 5
  listen: 61613
  heartbeat: {grace: 0.5}
limits: {headers: many, body: 8 megs, header_line: 1MiB}
transactions: 7
log: {level: loud}
queues: {dead_letter_prefix: [a]}
`)
	_, err := config.Load(config.Sources{
		File:  path,
		Env:   []string{"BATON_LOG_FORMAT=xml", "BATON_STOMP_LISTNE=x", "BATON_STOMP_HIDE_SERVER=perhaps", "BATON_WHATEVER_THIS_IS=1"},
		Flags: map[string]any{"data.dir": ""},
	})
	var problems config.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("error is %T, want config.Problems", err)
	}
	want := []string{
		path + `: stomp.lissten: unknown key; did you mean stomp.listen?`,
		path + `: stomp.connect_timeout: "5": want a duration with its unit, such as 5s, 100ms or 5m`,
		path + `: stomp.listen: "61613": want HOST:PORT, such as 127.0.0.1:61613`,
		path + `: stomp.heartbeat.grace: 0.5: want 1 to 100, or clients would be cut before their heart-beat is due`,
		path + `: limits.headers: "many": want a whole number`,
		path + `: limits.body: "8 megs" is not a size: want a number of bytes or one with KiB, MiB, GiB or TiB, such as 64MiB`,
		`limits.header_bytes: 64KiB is less than limits.header_line (1MiB): the longest header line must fit`,
		path + `: transactions: is a section and takes no value of its own; one of its keys is transactions.max_open`,
		path + `: log.level: "loud": want debug, info, warn, error`,
		path + `: queues.dead_letter_prefix: [a]: want a text`,
		`BATON_LOG_FORMAT: log.format: "xml": want auto, console, json`,
		`BATON_STOMP_LISTNE: unknown variable; did you mean BATON_STOMP_LISTEN?`,
		`BATON_WHATEVER_THIS_IS: unknown variable`,
		`BATON_STOMP_HIDE_SERVER: stomp.hide_server: "perhaps": want true or false`,
		`command line: data.dir: must not be empty`,
	}
	got := map[string]bool{}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		got[line] = true
	}
	for _, line := range want {
		if !got[line] {
			t.Errorf("missing: %s", line)
		}
		delete(got, line)
	}
	for line := range got {
		t.Errorf("unexpected: %s", line)
	}
}

func TestFileThatCannotBeRead(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing.yml")
	for _, tc := range []struct{ name, path, want string }{
		{"missing", missing, missing + ": no such file or directory"},
		{"no YAML", file(t, "stomp: [1"), "yaml: line 1: did not find expected ',' or ']'"},
		{"key twice", file(t, "log: {level: info}\nlog: {level: warn}\n"), `mapping key "log" already defined`},
		{"too big", file(t, "#"+strings.Repeat(" ", 1<<20)), "at most 1MiB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Load(config.Sources{File: tc.path})
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, tc.want)
			}
		})
	}
}
