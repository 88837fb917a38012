package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
)

// Outcomes that come beside another one of the same item.
const (
	outcomePublished = "published"
	outcomeHeld      = "stored but not published"
)

// load runs an import of a file: reading and sending overlap.
func load[T proto.Message, Req, Res any](ctx context.Context, std console, c *config, t *tally, name string, fresh func() T, im *importer[T, Req, Res]) error {
	in, closeFile, err := open(name, std.in)
	if err != nil {
		return err
	}
	defer func() { _ = closeFile() }() // it was only read
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches := make(chan []line[T], 1)
	unread := make(chan error, 1)
	go func() { unread <- read(ctx, in, fresh, t.refuse, batches) }()
	err = im.run(ctx, batches)
	cancel()
	if readErr := <-unread; err == nil {
		err = readErr
	}
	refused := t.end()
	if err != nil {
		return c.explain(err)
	}
	if refused > 0 {
		return errRefused
	}
	return nil
}

// tally counts what happens to items and shows the count while it grows, on a terminal only.
type tally struct {
	std      console
	noun     string
	start    time.Time
	terminal bool

	mu      sync.Mutex
	drawn   time.Time
	items   int
	refused int
	counts  map[string]int
	reasons map[string]int
}

func newTally(std console, noun string) *tally {
	t := &tally{std: std, noun: noun, start: time.Now(), counts: map[string]int{}, reasons: map[string]int{}}
	if f, ok := std.err.(*os.File); ok {
		info, err := f.Stat()
		t.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return t
}

// count adds one to an outcome.
func (t *tally) count(outcome string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[outcome]++
	if outcome != outcomePublished && outcome != outcomeHeld {
		t.progress()
	}
}

// explain adds one to the reasons why items were stored and not published.
func (t *tally) explain(reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reasons[reason]++
}

// refuse reports a line that was not stored.
func (t *tally) refuse(number int, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused++
	t.clear()
	fmt.Fprintf(t.std.err, "line %d: %s\n", number, reason)
	t.progress()
}

func (t *tally) progress() {
	t.items++
	if t.terminal && time.Since(t.drawn) > 100*time.Millisecond {
		t.drawn = time.Now()
		fmt.Fprintf(t.std.err, "\r%d %s, %.0f/s\x1b[K", t.items, t.noun, t.rate())
	}
}

func (t *tally) clear() {
	if t.terminal {
		fmt.Fprint(t.std.err, "\r\x1b[K")
	}
}

func (t *tally) rate() float64 { return float64(t.items) / max(time.Since(t.start).Seconds(), 1e-3) }

// end prints the sum on stderr and gives the number of refused lines.
func (t *tally) end() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clear()
	w := t.std.err
	fmt.Fprintf(w, "%d %s in %.1f s (%.0f/s)", t.items, t.noun, time.Since(t.start).Seconds(), t.rate())
	for _, outcome := range slices.Sorted(maps.Keys(t.counts)) {
		fmt.Fprintf(w, ", %d %s", t.counts[outcome], outcome)
	}
	if t.refused > 0 {
		fmt.Fprintf(w, ", %d refused", t.refused)
	}
	fmt.Fprintln(w)
	t.printReasons(w)
	return t.refused
}

// printReasons explains what was stored and not published, the most frequent reason first.
func (t *tally) printReasons(w io.Writer) {
	const shown = 20
	list := slices.SortedFunc(maps.Keys(t.reasons), func(a, b string) int {
		return cmp.Or(cmp.Compare(t.reasons[b], t.reasons[a]), cmp.Compare(a, b))
	})
	for i, reason := range list {
		if i == shown {
			fmt.Fprintf(w, "  and %d other reasons\n", len(list)-shown)
			break
		}
		fmt.Fprintf(w, "  not published, %d: %s\n", t.reasons[reason], reason)
	}
}
