package config_test

import (
	"reflect"
	"strings"
	"testing"

	"baton/config"
)

func TestDescribeSaysWhereAValueCameFrom(t *testing.T) {
	t.Parallel()
	path := file(t, "stomp: {heartbeat: {send: 2s}}\n")
	got, err := config.Describe(config.Sources{
		File:  path,
		Env:   []string{"BATON_LOG_LEVEL=debug"},
		Flags: map[string]any{"data.dir": "/var/lib/baton"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n  heartbeat:\n    send: 2s # from " + path + "\n    receive: 10s\n",
		"data:\n  dir: \"/var/lib/baton\" # from command line\n",
		"\n  level: \"debug\" # from BATON_LOG_LEVEL\n  format: \"auto\"\n",
		"\n  idle_timeout: 5m\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing %q in\n%s", want, got)
		}
	}
}

// What Describe prints is a file that gives the same configuration.
func TestDescribeLoadsAgain(t *testing.T) {
	t.Parallel()
	sources := config.Sources{Env: []string{`BATON_DATA_DIR=a "b": \c # d`, "BATON_LIMITS_BODY=1000003", "BATON_LOG_LEVEL=warn"}}
	want, err := config.Load(sources)
	if err != nil {
		t.Fatal(err)
	}
	text, err := config.Describe(sources)
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.Load(config.Sources{File: file(t, text)})
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot\n%+v\nwant\n%+v\nfrom\n%s", err, got, want, text)
	}
}
