package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"baton/bench"
)

// report writes what was measured, as Markdown.
func (p *plan) report(out io.Writer, all figures) {
	fmt.Fprintf(out, "Measured %s with `%s`: %d rounds, %v a workload; the median of the rounds, in brackets the least and the most.\n\n",
		time.Now().UTC().Format(time.DateOnly), "go run ./bench/peers", p.rounds, p.duration)
	fmt.Fprintf(out, "%s\n\n", strings.Join(machine(), "; "))
	fmt.Fprintf(out, "## Goals\n\n| | Baton | compared with | ratio | goal | |\n|---|---|---|---|---|---|\n")
	for _, g := range goals {
		g.report(out, all)
	}
	fmt.Fprintf(out, "\n## Figures\n\nDeliveries a second; for what is only sent, SENDs.\n\n| |")
	for _, name := range p.against {
		fmt.Fprintf(out, " %s |", name)
	}
	fmt.Fprintf(out, "\n|---|%s\n", strings.Repeat("---|", len(p.against)))
	for _, preset := range bench.Presets() {
		fmt.Fprintf(out, "| %s: %s |", preset.Name, preset.Workload)
		for _, name := range p.against {
			fmt.Fprintf(out, " %s |", all.cell(name, preset.Name))
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "\n## What a receipt of a persistent SEND promises\n\n")
	for _, d := range bench.Dialects {
		fmt.Fprintf(out, "- %s: %s\n", d.Name, d.Safe)
	}
	for _, name := range p.against {
		for _, preset := range bench.Presets() {
			if err := all.wrong(name, preset.Name); err != nil {
				fmt.Fprintf(out, "\n%s, %s: %s\n", name, preset.Name, firstLine(err.Error()))
			}
		}
	}
}

func (g *goal) report(out io.Writer, all figures) {
	value, ok := g.value(all)
	for i, part := range g.of {
		text := g.text
		if i > 0 {
			text = ""
		}
		fmt.Fprintf(out, "| %s |", text)
		other, there := part.value(all)
		if !ok || !there {
			fmt.Fprintf(out, " – | %s | – | | not measured |\n", part.name)
			continue
		}
		ratio, verdict, bound := value.median/other, "**missed**", "≥"
		if part.most {
			bound = "≤"
		}
		if ratio >= part.least && !part.most || ratio <= part.least && part.most {
			verdict = "reached"
		}
		fmt.Fprintf(out, " %s | %s: %s | %.2f | %s %v | %s |\n", value, part.name, number(other), ratio, bound, part.least, verdict)
	}
}

// cell is what a contender did in a workload.
func (all figures) cell(contender, what string) string {
	if all.wrong(contender, what) != nil {
		return "failed, see below"
	}
	deliveries, ok := all.of(contender, what, deliveriesOf)
	if !ok {
		return "–"
	}
	sends, _ := all.of(contender, what, sendsOf)
	p50, _ := all.of(contender, what, p50Of)
	p99, _ := all.of(contender, what, p99Of)
	text := deliveries.String()
	if p50.median > 0 {
		text += fmt.Sprintf(", p50 %.0f µs, p99 %.0f µs", p50.median, p99.median)
	} else {
		text = fmt.Sprintf("in %s, out %s", sends, text)
	}
	return text
}

func (s spread) String() string {
	if s.least == s.most {
		return number(s.median)
	}
	return fmt.Sprintf("%s (%s–%s)", number(s.median), number(s.least), number(s.most))
}

// number writes with commas.
func number(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// machine says on what it was measured.
func machine() []string {
	said := []string{fmt.Sprintf("%s/%s, %d processors", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()), runtime.Version()}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				said = append(said, strings.Trim(name, " \t:\n"))
				break
			}
		}
	}
	for title, command := range map[string][]string{
		"kernel":          {"uname", "-r"},
		"commit":          {"git", "rev-parse", "--short", "HEAD"},
		"activemq":        {"dpkg-query", "-W", "-f", "${Version}", "activemq"},
		"rabbitmq-server": {"dpkg-query", "-W", "-f", "${Version}", "rabbitmq-server"},
	} {
		out, err := exec.Command(command[0], command[1:]...).Output()
		if err == nil {
			said = append(said, title+" "+cmp.Or(strings.TrimSpace(string(out)), "none"))
		}
	}
	return said
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
