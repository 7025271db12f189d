package config_test

import (
	"testing"

	"baton/config"
	"pgregory.net/rapid"
)

func TestParseBytes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]config.Bytes{
		"0": 0, "17": 17, "17B": 17, "8KiB": 8192, "8 KiB": 8192, "64MiB": 64 << 20, "1GiB": 1 << 30, "2TiB": 2 << 40,
	} {
		if got, err := config.ParseBytes(text); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "B", "KiB", "-1", "+1", "1.5MiB", "8MB", "8 megs", "0x10", "1e3", "9223372036854775808", "8388608TiB",
	} {
		if got, err := config.ParseBytes(text); err == nil {
			t.Errorf("ParseBytes(%q) = %d, want an error", text, got)
		}
	}
}

func TestBytesPrintAsTheyParse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := config.Bytes(rapid.Int64Min(0).Draw(t, "bytes"))
		if got, err := config.ParseBytes(want.String()); err != nil || got != want {
			t.Fatalf("%s parses as %d, %v, want %d", want, got, err, want)
		}
	})
	if got := (64 * config.MiB).String(); got != "64MiB" {
		t.Errorf("64 MiB prints as %s", got)
	}
}
