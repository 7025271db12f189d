package peers

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"baton/integration/process"
)

// startup bounds how long the brokers may take until they listen.
const startup = 2 * time.Minute

func TestScripts(t *testing.T) {
	t.Parallel()
	scripts := readScripts(t)
	listed := readDifferences(t)
	marks := readMarks(t)
	checkNames(t, scripts, listed, marks)
	seen := playAll(t, scripts, startAll(t))
	for i, s := range scripts {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			for _, wrong := range Compare(s, seen[i], listed, marks) {
				t.Error(wrong)
			}
			if t.Failed() || testing.Verbose() {
				t.Log(table(s, seen[i]))
			}
		})
	}
}

// runs counts what stood for {}, so that a repeated script meets nothing that it has left behind.
var runs atomic.Int64

// playAll runs each script against all brokers that it is meant for, and everything at once: scripts mostly wait.
func playAll(t *testing.T, scripts []*Script, addrs map[string]string) []map[string][]string {
	t.Helper()
	seen := make([]map[string][]string, len(scripts))
	var mu sync.Mutex
	var all sync.WaitGroup
	for i, s := range scripts {
		seen[i] = map[string][]string{}
		run := s.Name + "-" + strconv.FormatInt(runs.Add(1), 10)
		for _, broker := range append([]string{"baton"}, s.Against...) {
			all.Go(func() {
				transcript, err := Play(t.Context(), s, addrs[broker], run)
				if err != nil {
					t.Errorf("%s: %v", broker, err)
				}
				mu.Lock()
				defer mu.Unlock()
				seen[i][broker] = transcript
			})
		}
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return seen
}

// startAll runs Baton and both peers until the end of the test, and returns where each listens.
func startAll(t *testing.T) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startup)
	defer cancel()
	addrs := map[string]string{}
	var mu sync.Mutex
	var all sync.WaitGroup
	add := func(name string, start func() (addr string, stop func(), err error)) {
		all.Go(func() {
			addr, stop, err := start()
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			t.Cleanup(stop)
			mu.Lock()
			defer mu.Unlock()
			addrs[name] = addr
		})
	}
	batonDir, activemqDir, rabbitmqDir := t.TempDir(), t.TempDir(), t.TempDir()
	add("baton", func() (string, func(), error) { return startBaton(ctx, batonDir) })
	add("activemq", func() (string, func(), error) { return listening(StartActiveMQ(ctx, activemqDir)) })
	add("rabbitmq", func() (string, func(), error) { return listening(StartRabbitMQ(ctx, rabbitmqDir)) })
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return addrs
}

func listening(p *Peer, err error) (string, func(), error) {
	if err != nil {
		return "", nil, err
	}
	return p.Addr, p.Stop, nil
}

func startBaton(ctx context.Context, dir string) (string, func(), error) {
	binary, err := process.Build(ctx, dir)
	if err != nil {
		return "", nil, err
	}
	b, err := process.Start(ctx, process.Options{Binary: binary, Data: filepath.Join(dir, "data")})
	if err != nil {
		return "", nil, err
	}
	return b.Addr, b.Kill, nil
}

func readScripts(t *testing.T) []*Script {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	var scripts []*Script
	for _, file := range files {
		s, err := Parse(strings.TrimSuffix(filepath.Base(file), ".txt"), read(t, file))
		if err != nil {
			t.Fatal(err)
		}
		scripts = append(scripts, s)
	}
	return scripts
}

func readDifferences(t *testing.T) []Difference {
	t.Helper()
	listed, err := ParseDifferences(read(t, "../../docs/migrating.md"))
	if err != nil {
		t.Fatalf("docs/migrating.md: %v", err)
	}
	return listed
}

func readMarks(t *testing.T) []Mark {
	t.Helper()
	marks, err := ParseMarks(read(t, "pending.txt"))
	if err != nil {
		t.Fatalf("pending.txt: %v", err)
	}
	return marks
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// checkNames finds rows and marks of scripts that do not exist.
func checkNames(t *testing.T, scripts []*Script, listed []Difference, marks []Mark) {
	t.Helper()
	exists := func(name string) bool {
		return slices.ContainsFunc(scripts, func(s *Script) bool { return s.Name == name })
	}
	for _, d := range listed {
		if !exists(d.Script) {
			t.Errorf("docs/migrating.md: no script is called %s", d.Script)
		}
	}
	for _, m := range marks {
		if !exists(m.Script) {
			t.Errorf("pending.txt: no script is called %s", m.Script)
		}
	}
}

// table shows what each step saw, and where brokers part.
func table(s *Script, seen map[string][]string) string {
	var text strings.Builder
	for i, step := range s.Steps {
		text.WriteString("\n" + strconv.Itoa(step.Line) + ": " + step.Client + " " + step.Verb + " " + strings.Join(step.Words, " "))
		for _, broker := range append([]string{"baton"}, s.Against...) {
			text.WriteString("\n\t" + broker + "\t" + seen[broker][i])
		}
	}
	return text.String()
}

// TestStopLeavesNothing: when a peer is stopped, its processes are gone and its ports are free.
func TestStopLeavesNothing(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Fatal("the peers are looked for in /proc")
	}
	ctx, cancel := context.WithTimeout(t.Context(), startup)
	defer cancel()
	dir := t.TempDir()
	p, err := StartRabbitMQ(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	if found := processesIn(t, dir); len(found) == 0 {
		t.Errorf("no process of the running peer was found by its directory")
	}
	p.Stop()
	// The machine's own helpers end by themselves when they read the end of its pipe.
	gone, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for len(processesIn(t, dir)) > 0 {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-gone.Done():
			t.Fatalf("left behind: %v", processesIn(t, dir))
		}
	}
}

// processesIn are the processes whose working directory is dir.
func processesIn(t *testing.T, dir string) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, link := range links {
		if cwd, err := os.Readlink(link); err == nil && cwd == dir {
			found = append(found, filepath.Dir(link))
		}
	}
	return found
}
