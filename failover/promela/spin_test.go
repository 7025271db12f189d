package promela_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var verdict = regexp.MustCompile(`errors: (\d+)\n\s+(\d+) states, stored`)

// check has spin explore pair.pml to the end, or to the first error, with what is defined.
func check(t *testing.T, defines ...string) (errors, states int, said string) {
	t.Helper()
	dir := t.TempDir()
	model, err := os.ReadFile("pair.pml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pair.pml"), model, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(program string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v (the test needs spin and gcc: make checkers): %v\n%s", cmd, err, out)
		}
		return string(out)
	}
	run("spin", append([]string{"-a"}, append(defines, "pair.pml")...)...)
	run("cc", "-O1", "-w", "-DSAFETY", "-DNOREDUCE", "-o", "pan", "pan.c")
	said = run("./pan", "-E", "-m200000", "-w22")
	found := verdict.FindStringSubmatch(said)
	if found == nil || strings.Contains(said, "too small") {
		t.Fatalf("spin says\n%s", said)
	}
	errors, _ = strconv.Atoi(found[1])
	states, _ = strconv.Atoi(found[2])
	return errors, states, said
}

// The second opinion: a model that was written from the text of the protocol. The bounds are explored to the end.
func TestSpinFindsNothing(t *testing.T) {
	t.Parallel()
	for name, bounds := range map[string]struct {
		states  int
		defines []string
	}{
		"takeover": {370_005, []string{"-DEPOCHS=2", "-DSEQS=1", "-DREVS=2", "-DCRASHES=1"}},
		"leases":   {236_071, []string{"-DEPOCHS=2", "-DSEQS=0", "-DREVS=2", "-DCRASHES=1", "-DLEASES"}},
		// One switchover, or exit that hands over, and what the new master does then.
		"handover":               {787_337, []string{"-DEPOCHS=3", "-DSEQS=0", "-DREVS=3", "-DCRASHES=1", "-DSWITCHOVERS=1"}},
		"handover with a record": {1_124_360, []string{"-DEPOCHS=2", "-DSEQS=1", "-DREVS=2", "-DCRASHES=1", "-DSWITCHOVERS=1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			errors, states, said := check(t, bounds.defines...)
			if errors != 0 {
				t.Fatalf("spin says\n%s", said)
			}
			if states != bounds.states {
				t.Errorf("%d states, README.md says %d: the model has changed", states, bounds.states)
			}
		})
	}
}

// What it would find: the same bugs that the model of the Go code finds.
func TestSpinFindsBugs(t *testing.T) {
	t.Parallel()
	for bug, defines := range map[string][]string{
		"BUG_ALONE":        {"-DEPOCHS=2", "-DSEQS=2", "-DREVS=3", "-DCRASHES=1"},
		"BUG_FORGET_DOUBT": {"-DEPOCHS=2", "-DSEQS=2", "-DREVS=3", "-DCRASHES=1"},
		"BUG_EARLY_EXPAND": {"-DEPOCHS=2", "-DSEQS=2", "-DREVS=3", "-DCRASHES=1"},
		"BUG_RESTART":      {"-DEPOCHS=2", "-DSEQS=0", "-DREVS=2", "-DCRASHES=1", "-DLEASES"},
		"BUG_LATE":         {"-DEPOCHS=2", "-DSEQS=0", "-DREVS=2", "-DCRASHES=1", "-DLEASES"},
	} {
		t.Run(bug, func(t *testing.T) {
			t.Parallel()
			errors, states, said := check(t, append(defines, "-D"+bug)...)
			if errors != 1 || !strings.Contains(said, "assertion violated") {
				t.Errorf("not found in %d states:\n%s", states, said)
			}
			t.Logf("%d states", states)
		})
	}
}
