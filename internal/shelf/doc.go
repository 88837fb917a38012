// Package shelf is the catalogue in memory: every film, genre, chart, section, layout and
// release as of one revision, and the gate every film passes on its way to a viewer. It is a
// fold of the change feed and owns no table; it may be thrown away and loaded anew.
//
// # Promises
//
//   - A Snapshot never changes, but that a gate may close under it and counts are renewed.
//     Films and what editors arrange become visible by one pointer swap, whole revisions at
//     a time.
//   - A film's slot is its for the life of the process. Version(slot) changes after the film
//     changed or its gate was closed, so a page made before can be told from one made after.
//   - A withdrawal closes the gate before its change is applied: an entry older than the
//     film's last withdrawal is hidden, in every snapshot there is, in those not made yet,
//     and also if the film itself has not arrived.
//   - The gate fails closed. Unknown film, market, window, state, source type: hidden; for
//     children also an unknown band or review. It allocates nothing.
//   - A card's bytes decode to what a card built plainly from the message would be.
//
// # Why it is so
//
// Films lie in a table of two levels, chunks of pointers: one change copies one chunk and
// the list of chunks, 16 KiB at a million films. Names are never copied: the index from name
// to slot only grows, so old snapshots can share it. Version and closing revision live
// outside of the snapshots, in cells that never move, because they must reach readers that
// hold old ones.
//
// Facts are extracted once per change. What the gate and most filters ask stands at the
// front of an Entry with the first window in it, sets of markets are shared between films,
// words are interned and compared by pointer. A scan over 100,000 films reads memory mostly
// in order and takes some 50 ns of processor time a film.
//
// Cards are encoded when first asked for, once per language and state of the vocabulary;
// rating, disclosure and times depend on viewer and moment and are appended each time. Order
// of fields on the wire means nothing to protobuf.
//
// Times are compared in microseconds, begins rounded up and ends down: a window that begins
// within a microsecond is not open at its begin.
//
// # Rejected
//
// A persistent tree or one map copied per change: the first costs every read, the second
// every change. Unmarshalled films kept in memory: five times the bytes. A rating scale per
// market compared by name: "PG" is three different things in three markets. Rounding a
// rating's age down to a band ("13" to AGE_12): a child of twelve would pass.
//
// The type checker of the filter library: it knows neither bare durations nor partial dates
// and answers in its own words; only its parser is used.
package shelf
