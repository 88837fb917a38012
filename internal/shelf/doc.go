// Package shelf is the catalogue in memory: every film, genre, chart, section, layout and
// release as of one revision, and the gate every film passes on its way to a viewer.
package shelf
