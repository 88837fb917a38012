// Package listing is what viewers get: ranked pages, home pages, titles, cards.
//
// It owns no data. Every answer is composed from the shelf (which films, sections and charts
// there are, and the gate) and from the generations (in which order), and kept already encoded.
//
// Invariants:
//   - no film is put on a page but through glance.film, which asks the gate and notes the film's
//     version, whether it was shown or skipped. A kept page is served only while every version it
//     noted is the shelf's, no window edge has passed, no section, chart or genre has changed
//     and, for a first page, its lists are still the newest. Otherwise it is made again.
//   - versions are read before the gate is asked, and a page is kept only if the snapshot it was
//     made from is still the current one when it is done; so a page can be kept too seldom,
//     never too long, and a late writer to the cache does no harm.
//   - a page token carries where its chain stands in the raw list, never what was hidden; its
//     length is the same whatever stands in it, and a token opens only for the method, the
//     arguments and the narrowed viewer it was made for.
//   - what is encoded by hand is, field for field and in the schema's order, what proto.Marshal
//     gives for the same answer; only inside a card the order is the shelf's.
//
// Why pages are kept by the token that asked for them: opening a token costs more than
// everything else a further page needs. A page found under (arguments, viewer, token) was made
// by opening that very token for those very arguments, so nothing is believed unchecked.
//
// Why a place in a section's chain is the place, pins included: a pin holds a film at a place,
// and a list whose numbers jump would say what the editors moved. A film pinned to a chart's
// third place shows rank 3.
//
// Why previews run over a snapshot and lists that are handed in: the code that serves tonight
// is then the code that shows Christmas Eve, and nothing has to be kept equal by hand.
//
// Rejected: dropping kept pages when films change. It needs an index from films to pages, and a
// fill that began before the change and ends after it would bring the film back. Comparing
// versions on each read costs less than the map lookup that finds the page.
//
// Rejected: one singleflight around the making of pages. A page takes some ten microseconds;
// the requests that would have waited make it again in the time the waiting would have taken.
package listing
