package main

import (
	"strings"
	"testing"
	"time"
)

func TestTally(t *testing.T) {
	t.Parallel()
	all := []stamp{{producer: 0, number: 0}, {producer: 0, number: 1}, {producer: 1, number: 0}}
	for name, c := range map[string]struct {
		seen []stamp
		want string
	}{
		"all":                        {all, ""},
		"one lost":                   {all[1:], "of 3 messages 1 were lost and 0 doubled"},
		"a producer lost altogether": {all[:2], "1 were lost"},
		"one doubled":                {append(all[:3:3], all[2]), "0 were lost and 1 doubled"},
		"a number nobody sent":       {append(all[:3:3], stamp{producer: 1, number: 1}), "1 came that nobody sent"},
		"a producer there is not":    {append(all[:3:3], readStamp([]byte("short"))), "1 came that nobody sent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tally := newTally(2)
			tally.sent = []int{2, 1}
			tally.add(c.seen)
			err := tally.check()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestStamp(t *testing.T) {
	t.Parallel()
	want := stamp{producer: 3, number: 1 << 20, at: time.Hour}
	body := make([]byte, stampBytes)
	want.write(body)
	if got := readStamp(body); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
