// Package changes is the one way to write: it appends to the store's history inside a
// transaction and follows that history into memory.
//
// Every editable thing (film, genre, chart, section, layout, release) is a resource: a name
// and the bytes of its message. One write touches, in one transaction: the counter row, the
// resources, their history rows (which are both the stored revisions and the feed), the
// audit rows, chained by hash, and the answer remembered for the request_id.
//
// # Invariants
//
//   - Commit order is revision order. A write takes the counter row first and holds it until
//     it commits, so writers stand in one line. What a write reads is the newest state; no row
//     locks, unique races or deadlocks are left to reason about.
//   - All changes of a write share one revision; a follower never cuts inside one and shows
//     it by one call of Apply.
//   - Withdrawals overtake: each poll first closes the gate for the films of every withdraw
//     row beyond what is applied, and a follower that is behind does not sleep.
//   - History is never changed. It is trimmed after 400 days, but for the row that is a
//     resource's current state.
//
// # Why
//
// One table for all resources: what differs between a film and a section is their rules, not
// how they are stored, versioned, audited or followed. Proven once, it holds for all, and a
// release that changes films and sections is one write like any other.
//
// The counter first, not last: held a few milliseconds longer, it makes a write's reads and
// writes serial by construction, where taking it last needs row locks in name order, retries
// on unique keys, and a second pass to stamp revisions into bodies. Bulk work goes in
// batches of 500, so one line of writers is enough; a take-down waits for one batch at the
// most.
//
// A resource is a pointer into history, where each body is stored once. History is the feed
// too: the body a follower needs is exactly the one of that revision, so a separate table
// would only point at it.
//
// # Rejected
//
// A sequence polled with "id > cursor": loses rows for ever when transactions commit out of
// order. LISTEN/NOTIFY as the only wake-up: it loses messages on reconnect; a poll of
// 200 ms is within every promise. A table of replicas on SQLite: there is one process.
package changes
