// Package catalog is CatalogService: the films, their rules and their vocabulary of genres.
//
// # What it owns
//
// Which films may be stored (check.go), what follows from their fields (film.go), how they
// move between draft and screen (film.go, state.go), when they may be published, which
// changes may hide them from someone (withdraw.go), who may change what (permit.go), how
// many are taken in at once (import.go), what editors and services read of them (read.go),
// how they follow them (watch.go), and why a viewer sees a film or not (explain.go). What
// markets demand is in package disclosure; the gate itself is in package shelf.
//
// # Invariants
//
//   - A text is kept byte for byte or refused. Only an https digital source type is rewritten,
//     to the http address the vocabulary defines.
//   - Field rules run on the whole film as it would be stored, never on a request alone.
//   - PUBLISHED is entered through the publish rules only, and edits of a published film keep
//     meeting them. A change that only hides needs no rules: it must always be possible.
//   - Only ReinstateFilm leaves TAKEN_DOWN; only UndeleteFilm brings back a deleted film.
//   - A change that may hide a film is marked as a withdrawal. In doubt it is one.
//   - An edit that leaves the etag as it was stores nothing.
//   - A watcher is sent each change once, in the order of the revisions, and any token it was
//     given goes on exactly behind its message, on any replica.
//   - Reads come from the shelf; writes read what they change inside their transaction.
//
// # Why
//
// The state machine, the merge and the checks are functions over messages, with the time as
// an argument; the methods only put them inside a write. All bodies go through package
// changes, which puts every write in one line, so there is no SQL here: no lost update is
// possible between the load and the put of one write.
//
// A watcher is sent the rows of history and not the shelf's newest state: what it is sent is
// then the same on every replica, and a token needs no memory of the server that gave it.
// Times and counts in a watcher's filter are judged when a film changes, because nothing is
// written when time passes.
//
// A source may correct the disclosure of a film that was never published; an editor's change
// and anything ever shown may only disclose more. An editor limited to markets is judged by
// what a change does, not by the method: what stands under other markets must come out equal.
//
// # Rejected
//
//   - A table of films with columns per field: the shelf answers every filter from memory, and
//     the same table, history and feed serve every resource.
//   - Importing through UpdateFilm, film by film: one fsync per film instead of one per 500.
//   - Refusing imported films that are deleted or taken down: sources repeat themselves, and a
//     repeated line must not fail a nightly import. Fields are taken in; the state stays.
//   - Field masks that reach into maps: translators have UpdateLocalization.
package catalog
