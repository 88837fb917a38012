// Package ledger keeps the log of what the audience did: an append-only table, written by
// package signals and folded by package rank. It owns the tables named ledger_*. It knows no
// rules: what may enter is decided in signals, what counts is decided by the fold.
//
// # Invariants
//
//   - Sequence numbers are contiguous from 1 and commit order is sequence order, on every
//     writer: the counter row is bumped first in the transaction and stays locked until it
//     ends. A reader at sequence n has therefore seen everything up to n, for ever.
//   - A row's meaning never changes after it is committed. Only a purge replaces its viewer, and
//     only retention removes it.
//   - Viewers are hashes made by signals; the ledger has never seen a viewer key.
//
// # Counting
//
// The log may hold an event many times. It counts once because the fold says so: of all rows
// with the same (Day, Market, Film, Viewer, Kind) the first in sequence counts (PLAY: the
// greatest value; RATE: the latest by Occur, of equal ones the first in sequence).
//
// # Purges, and what a fold must do
//
// Purging a viewer replaces the hash H by a random one R in all rows below the purge's own
// sequence number S. The same person may come back later as H again, which is then somebody
// new. Rows between a fold's position W and S are already rewritten when the fold reads them,
// while its memory still says H. So a fold that reads [Ledger.After](W) first renames Old to New
// in everything it remembers per viewer, for every [Purge] of the batch, and only then folds the
// batch's events. Renaming again is harmless (no row in between says H), so that a batch that
// stops below S is no special case; and it never applies a purge at or below its own position.
// A purge row itself would be a link between H and R: [Ledger.Forget], called in the
// transaction of the fold's checkpoint, removes those the fold is past.
//
// # Why
//
// No unique index stands in the way of the writer: under one, random viewers make every insert
// a random page, and throughput falls by an order of magnitude at a few million rows. The
// index on (day, seq) is written in order, because events arrive roughly in the order
// of their days. There is no index on the viewer for the same reason: a purge reads the table
// instead, outside of the writers' lock, which takes seconds per ten million rows and happens
// rarely.
//
// # Rejected
//
//   - Packing a batch into one row: faster still, but a purge would rewrite whole batches and
//     nobody could look at the log with SQL.
//   - A separate table of film ids: it saves bytes and costs a lookup that must be exact on all
//     writers.
package ledger
