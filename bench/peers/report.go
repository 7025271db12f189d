package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"baton/bench"
)

// report writes what was measured, as Markdown.
func (p *plan) report(out io.Writer, all figures, to page, rounds int) {
	fmt.Fprintf(out, "Measured on %s: %s of %v a workload", time.Now().UTC().Format(time.DateOnly), count(rounds, "round"), p.duration)
	if rounds < p.rounds {
		fmt.Fprintf(out, " (of %d that were asked for)", p.rounds)
	}
	if p.scale != 1 {
		fmt.Fprintf(out, "; connections, queues and backlogs are %v of what is written", p.scale)
	}
	if p.fill != 1 {
		fmt.Fprintf(out, "; ActiveMQ and RabbitMQ had %v of the 1,000,000 messages, which take them many minutes", p.fill)
	}
	fmt.Fprintf(out, ". A figure is the median of the rounds, in brackets the least and the most. In each round "+
		"one contender after the other ran all workloads, after the first of them once without being measured, alone, with the load on the same machine: they share its processors.\n\n")
	for _, line := range p.machine {
		fmt.Fprintf(out, "- %s\n", line)
	}
	p.reportGoals(out, all)
	p.reportFigures(out, all)
	p.reportMemory(out, all)
	p.reportGrowth(out, all, to)
	p.reportProfiles(out, to)
	p.reportContenders(out)
	p.reportWrong(out, all)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (p *plan) reportGoals(out io.Writer, all figures) {
	fmt.Fprintf(out, "\n## Goals\n\n| | Baton | compared with | ratio | goal | |\n|---|---|---|---|---|---|\n")
	for _, g := range goals {
		g.report(out, all)
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

// table begins one with a column for each contender.
func table(out io.Writer, contenders []string) {
	fmt.Fprintf(out, "| | %s |\n|---|%s\n", strings.Join(contenders, " | "), strings.Repeat("---|", len(contenders)))
}

func (p *plan) reportFigures(out io.Writer, all figures) {
	fmt.Fprintf(out, "\n## Figures\n\nDeliveries a second, and how long one took since its SEND was due; with a window of 1, how long the receipt took.\n\n")
	table(out, p.against)
	for _, preset := range bench.Presets() {
		fmt.Fprintf(out, "| %s: %s |", preset.Name, preset.Workload)
		for _, name := range p.against {
			fmt.Fprintf(out, " %s |", all.cell(name, preset))
		}
		fmt.Fprintln(out)
	}
}

// cell is what a contender did in a workload.
func (all figures) cell(contender string, preset bench.Preset) string {
	what := preset.Name
	switch {
	case kinds[contender].cannot[what] != "":
		return "cannot"
	case all.wrong(contender, what) != nil:
		return "failed, see below"
	}
	deliveries, ok := all.of(contender, what, deliveriesOf)
	if !ok {
		return "–"
	}
	if preset.Backlog > 0 {
		sends, _ := all.of(contender, what, sendsOf)
		return fmt.Sprintf("in %s, out %s", sends, deliveries)
	}
	latency := func(f figure) bench.Latency { return f.latencies }
	if preset.Window == 1 {
		latency = func(f figure) bench.Latency { return f.receipts }
	}
	p50, _ := all.of(contender, what, func(f figure) float64 { return latency(f).P50 })
	p99, _ := all.of(contender, what, func(f figure) float64 { return latency(f).P99 })
	return fmt.Sprintf("%s, p50 %s µs, p99 %s µs", deliveries, number(p50.median), number(p99.median))
}

func (p *plan) reportMemory(out io.Writer, all figures) {
	fmt.Fprintf(out, "\n## Memory\n\nWhat is resident as the kernel counts it: with idle connections, or queues with a message of 1 KiB each, "+
		"over what was resident before, on a broker that has just started; and the most while the backlog came and went.\n\n")
	table(out, p.against)
	for _, row := range []struct {
		text, what string
		pick       func(figure) float64
	}{
		{"5,000 connections with a subscription: connects a second", figureConnect, sendsOf},
		{"octets of each", figureConnect, residentOf},
		{"10,000 queues with a message: octets of each", figureQueues, residentOf},
		{"1,000,000 messages in and out: MiB at most", "backlog", peakOf},
	} {
		fmt.Fprintf(out, "| %s |", row.text)
		for _, name := range p.against {
			cell := "–"
			if s, ok := all.of(name, row.what, row.pick); ok {
				cell = s.String()
			} else if all.wrong(name, row.what) != nil {
				cell = "failed, see below"
			}
			fmt.Fprintf(out, " %s |", cell)
		}
		fmt.Fprintln(out)
	}
}

func (p *plan) reportGrowth(out io.Writer, all figures, to page) {
	if len(p.growth) == 0 || !p.wants(figureGrowth) {
		return
	}
	fmt.Fprintf(out, "\n## Growth\n\nThe workload persistent, with more and more of one thing: nanoseconds of the broker's CPU time a message, and "+
		"deliveries a second, which the load takes part in. Every point is measured on a broker that has just started.\n")
	for _, name := range p.growth {
		if p.pictures[growthPicture(name)] != nil && to.file != "-" {
			fmt.Fprintf(out, "\n![Growth of %s](%s)\n", name, to.picture(growthPicture(name)))
		}
	}
	for i := range curves {
		c := &curves[i]
		fmt.Fprintf(out, "\n**%s**: %s.\n\n", c.of, c.about)
		fmt.Fprintf(out, "| |")
		for _, n := range c.points {
			fmt.Fprintf(out, " %s |", number(float64(n)))
		}
		fmt.Fprintf(out, "\n|---|%s\n", strings.Repeat("---|", len(c.points)))
		for _, name := range p.growth {
			c.row(out, name+": ns a message", all, name, costOf)
			c.row(out, name+": deliveries a second", all, name, deliveriesOf)
		}
	}
}

func (c *curve) row(out io.Writer, text string, all figures, contender string, pick func(figure) float64) {
	fmt.Fprintf(out, "| %s |", text)
	for _, n := range c.points {
		if s, ok := all.of(contender, c.point(n), pick); ok {
			fmt.Fprintf(out, " %s |", s)
		} else {
			fmt.Fprintf(out, " – |")
		}
	}
	fmt.Fprintln(out)
}

func (p *plan) reportProfiles(out io.Writer, to page) {
	if to.file == "-" || p.pictures[profiled[0]] == nil {
		return
	}
	fmt.Fprintf(out, "\n## Profiles\n\nWhere Baton's CPU time goes: a box is as wide as its share, below its caller.\n")
	for _, name := range profiled {
		fmt.Fprintf(out, "\n![CPU profile of %s](%s)\n", name, to.picture(name))
	}
}

func (p *plan) reportContenders(out io.Writer) {
	fmt.Fprintf(out, "\n## Contenders, and what a receipt of a persistent SEND promises\n\nAll keep their data on the same disk; each is a "+
		"process of its own, and so is the relay, which is the limit of what clients could be served.\n\n")
	for _, name := range p.against {
		k := kinds[name]
		fmt.Fprintf(out, "- **%s**: %s. %s\n", name, k.runs, k.promise)
		for _, preset := range bench.Presets() {
			if why := k.cannot[preset.Name]; why != "" {
				fmt.Fprintf(out, "  - cannot do %s: %s\n", preset.Name, why)
			}
		}
	}
}

func (p *plan) reportWrong(out io.Writer, all figures) {
	var lines []string
	for k := range all {
		if err := all.wrong(k.contender, k.what); err != nil {
			lines = append(lines, fmt.Sprintf("- %s, %s: %s", k.contender, k.what, err))
		}
	}
	if len(lines) == 0 {
		fmt.Fprintf(out, "\nIn all that was measured every message was checked: nothing was lost, doubled, out of order or corrupt.\n")
		return
	}
	slices.Sort(lines)
	fmt.Fprintf(out, "\n## What went wrong\n\n%s\n", strings.Join(lines, "\n"))
}

// machine says on what is measured, with data in dir.
func machine(dir string) []string {
	said := []string{fmt.Sprintf("%s/%s, %d processors", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())}
	for _, of := range []struct{ title, file, key string }{{"", "/proc/cpuinfo", "model name"}, {"memory ", "/proc/meminfo", "MemTotal"}} {
		if value := valueOf(of.file, of.key); value != "" {
			said[0] += ", " + of.title + value
		}
	}
	for _, of := range []struct {
		title   string
		command []string
	}{
		{"kernel", []string{"uname", "-r"}},
		{"the data's file system:", []string{"findmnt", "-n", "-o", "FSTYPE", "-T", dir}},
		{"Baton's commit", []string{"git", "describe", "--always", "--dirty", "--exclude", "*"}},
		{"ActiveMQ", []string{"dpkg-query", "-W", "-f", "${Version}", "activemq"}},
		{"Java", []string{"java", "--version"}},
		{"RabbitMQ", []string{"dpkg-query", "-W", "-f", "${Version}", "rabbitmq-server"}},
		{"Erlang", []string{"dpkg-query", "-W", "-f", "${Version}", "erlang-base"}},
	} {
		out, err := exec.Command(of.command[0], of.command[1:]...).Output()
		if text := strings.TrimSpace(firstLine(string(out))); err == nil && text != "" {
			said = append(said, of.title+" "+text)
		}
	}
	return append(said, runtime.Version())
}

// valueOf is what a file of lines such as "key : value" says of a key, the first time; "" if it is not there.
func valueOf(file, key string) string {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, key); ok {
			return strings.Trim(value, " \t:\n")
		}
	}
	return ""
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
