package main

import (
	"bytes"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

// table is what a part of a run found.
type table struct {
	b      *bench
	name   string
	rows   [][]string // the first one is the heading
	bars   []bar
	missed int
}

// bar is one bar of a chart.
type bar struct {
	label string
	value float64
}

func (b *bench) table(name string, heading ...string) *table {
	t := &table{b: b, name: name, rows: [][]string{heading}}
	b.tables = append(b.tables, t)
	return t
}

func (t *table) row(cells ...string)             { t.rows = append(t.rows, cells) }
func (t *table) bar(label string, value float64) { t.bars = append(t.bars, bar{label, value}) }

// verdict says what a figure should be at the most, and whether it is; 0 = no target.
func (t *table) verdict(value, most float64) string {
	switch {
	case most == 0:
		return ""
	case value > most*1.1:
		t.missed++
		return fmt.Sprintf("%.4g MISSED", most)
	case value > most:
		return fmt.Sprintf("%.4g just missed", most)
	}
	return fmt.Sprintf("%.4g", most)
}

// print shows the table.
func (t *table) print() error {
	w := tabwriter.NewWriter(t.b.out, 2, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range t.rows {
		fmt.Fprintln(w, strings.Join(row, "\t")+"\t")
	}
	fmt.Fprintln(w)
	return w.Flush()
}

// markdown is the table as a page has it.
func (t *table) markdown() string {
	var b strings.Builder
	for i, row := range t.rows {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	return b.String()
}

// publish puts tables into a page, between the marks <!-- NAME --> and <!-- /NAME -->, and
// draws a chart beside it for each that has bars.
func publish(page string, tables []*table) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	for _, t := range tables {
		begin, end := "<!-- "+t.name+" -->\n", "<!-- /"+t.name+" -->"
		before, rest, ok := bytes.Cut(text, []byte(begin))
		_, after, closed := bytes.Cut(rest, []byte(end))
		if !ok || !closed {
			return fmt.Errorf("%s has no place for %s", page, t.name)
		}
		text = []byte(string(before) + begin + "\n" + t.markdown() + "\n" + end + string(after))
		if len(t.bars) > 0 {
			if err := os.WriteFile(filepath.Join(filepath.Dir(page), t.name+".svg"), t.svg(), 0o644); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(page, text, 0o644)
}

// svg draws the bars, in multiples of the empty handler; the line is where that one stands.
func (t *table) svg() []byte {
	const label, width, line = 400, 960, 24
	most := 1.0
	for _, b := range t.bars {
		most = max(most, b.value)
	}
	scale := (width - label - 60) / most
	var s bytes.Buffer
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n", width, line*len(t.bars)+20)
	fmt.Fprintf(&s, `<rect width="100%%" height="100%%" fill="#fff"/>`+"\n")
	for i, b := range t.bars {
		y := 10 + i*line
		colour := "#3b6fb6"
		switch {
		case strings.HasSuffix(b.label, ": empty"):
			colour = "#999"
		case strings.HasSuffix(b.label, ": usual"):
			colour = "#c0504d"
		}
		fmt.Fprintf(&s, `<text x="%d" y="%d" text-anchor="end">%s</text>`, label-8, y+15, html.EscapeString(b.label))
		fmt.Fprintf(&s, `<rect x="%d" y="%d" width="%.1f" height="16" fill="%s"/>`, label, y+3, b.value*scale, colour)
		fmt.Fprintf(&s, `<text x="%.1f" y="%d">%.2f</text>`+"\n", label+b.value*scale+6, y+15, b.value)
	}
	fmt.Fprintf(&s, `<line x1="%.1f" x2="%.1f" y1="4" y2="%d" stroke="#333" stroke-dasharray="3 3"/>`+"\n</svg>\n", label+scale, label+scale, line*len(t.bars)+14)
	return s.Bytes()
}
