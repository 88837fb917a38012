// Command benchmark measures what a request costs the server, as a multiple of an empty
// handler that answers the same bytes. README.md beside it says how, and what came out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

// plan is what a run measures.
type plan struct {
	rounds int
	length time.Duration
	sizes  []int
	// page is where the results are published; empty = only printed.
	page string
}

// parts are what can be measured, in this order.
var parts = []struct {
	name string
	run  func(context.Context, *bench, plan) error
}{
	{"requests", requests}, {"redis", commands}, {"change", change}, {"telemetry", tracing}, {"growth", growth},
}

func main() {
	var p plan
	var names []string
	for _, part := range parts {
		names = append(names, part.name)
	}
	flag.IntVar(&p.rounds, "rounds", 5, "how often each variant is measured")
	flag.DurationVar(&p.length, "length", time.Second, "how long each time")
	only := flag.String("only", strings.Join(names, ","), "which parts to measure")
	million := flag.Bool("million", false, "measure growth up to 1,000,000 films (8 GB of memory, three minutes)")
	flag.StringVar(&p.page, "publish", "", "a page whose tables are replaced, and beside which the charts are drawn")
	variant := flag.String("variant", "", "(internal) serve a variant")
	flag.Parse()
	p.sizes = []int{1000, 100_000}
	if *million {
		p.sizes = append(p.sizes, 1_000_000)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if *variant != "" {
		err = serve(ctx, *variant, flag.Args())
	} else {
		err = measure(ctx, os.Stdout, p, strings.Split(*only, ","))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchmark:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, out io.Writer, p plan, only []string) error {
	b, err := newBench(ctx, out)
	if err != nil {
		return err
	}
	defer b.close()
	for _, part := range parts {
		if !slices.Contains(only, part.name) {
			continue
		}
		if err := part.run(ctx, b, p); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	if p.page != "" {
		if err := publish(p.page, b.tables); err != nil {
			return err
		}
	}
	missed := 0
	for _, t := range b.tables {
		missed += t.missed
	}
	if missed > 0 {
		return errors.New(plural(missed, "target") + " missed by more than 10 %")
	}
	return nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
