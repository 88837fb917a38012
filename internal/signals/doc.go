// Package signals takes what the audience does: it decides which events may enter, hashes their
// viewers, writes them to the ledger in group commits, and forgets what must be forgotten. It
// owns the tables named signals_*; the events themselves are package ledger's, which rank folds.
//
// # Invariants
//
//   - ACCEPTED means durable: the answer leaves after the transaction that holds the event is
//     committed. Whatever else happens, sending an event again is harmless, because it counts
//     once by the fold's rule. Every event has an answer of its own.
//   - A viewer key is never stored, logged or traced. What is stored is a hash made at the door:
//     for adults with one key, sealed in SQL, for children with a random key per UTC day of
//     occur_time that is deleted 72 hours after the day began. A new root secret seals the
//     adults' key anew and changes no hash; a start without any secret that opens it fails.
//   - An audience that is not said is KIDS, and a caller whose token says KIDS can say nothing
//     else. Children do not rate.
//   - A full queue refuses at once (OVERLOADED, with a time to come back); while the database is
//     away every call is UNAVAILABLE as soon as package sqldb knows it. Memory is bounded by 50,000
//     events.
//   - When the service stops, what was queued is written first.
//
// # Purging a viewer
//
// PurgeViewer replaces the viewer's hash in the ledger; package ledger says how a fold follows.
// The answer to a request_id is remembered with an HMAC of the viewer key, for 24 hours.
//
// # Why
//
//   - Group commit without a timer: while one transaction commits the next batch fills, so
//     that an idle service adds no delay and a busy one fills its batches.
//   - One writer per process: the ledger's counter row lets only one commit at a time anyway.
//   - The film must be on this replica's shelf, which may lack one that was created moments ago
//     on another replica. Players do not send refused events again, so a call that names an
//     unknown film asks the database for the newest revision, and is UNAVAILABLE if this replica
//     does not show that within a second.
//   - A value of an event that has none (LIKE, SHARE, …) is ignored, not refused: it changes
//     nothing. PLAY takes up to 1e9 seconds, so that no sum of them is ever infinite.
//
// # Rejected
//
//   - Answering before the commit with a promise to retry: a crash then loses what was promised.
//   - A unique key in the table: see package ledger.
//   - Keeping children's keys and dropping their rows instead: their counts are part of the charts.
package signals
