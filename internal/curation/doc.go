// Package curation is the editors' desk: sections, layouts and releases, previews, the history
// of every resource with its undo, and the audit.
//
// # Invariants
//
//   - Nothing here is seen by viewers but what is stored as a section or a layout. A draft is
//     a change inside a release that is not published; no viewer RPC reads releases.
//   - A release is one write: all of its changes get one revision, and followers show a
//     revision by one pointer swap. So it is applied and seen all or nothing.
//   - A scheduled release is applied by whichever replica is first: inside the write, which
//     stands in line with all others, it is still SCHEDULED and due by the database's clock, or
//     there is nothing to do. So it is applied once, and never early. No lease, no table of jobs.
//   - Windows, not jobs, end things.
//   - A preview is composed by the code that serves (package listing), over a snapshot with
//     the releases thought applied, or of the past.
//
// # Why
//
// Pins that cannot be shown are accepted and reported, not refused: a film may be published
// later, a limit raised, and a section must be storable before its films are ready. What is
// reported on save (Section.problems) is what holds for every viewer; previews name the pins
// dropped for one viewer. In a release, which is meant to be shown, missing films, collisions
// and pins past the limit stop it.
//
// Two scheduled releases that touch one resource are a warning, not an error: Christmas and
// New Year both change the home page. Where the second must build on the first, its change
// carries the etag it was made from, and a mismatch stops it.
//
// # Rejected
//
// Draft copies of sections beside the published ones: every reader would have to choose, and
// leaks are one forgotten choice away. A table of due releases: the release's own state says
// it, and the line of writers makes it exact.
package curation
