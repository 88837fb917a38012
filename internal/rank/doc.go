// Package rank keeps the definitions of the charts and ranks the films by them: ChartService,
// and the ranker, which one replica at a time runs under a lease. It owns the tables named
// rank_* and reads the ledger; generations carries its lists to the replicas.
//
// # What counts
//
// Of all events with the same (UTC day of occur_time, market, film, viewer, kind) the first in the
// log counts, of PLAY the one with the greatest value (of equal ones the first); of a viewer's
// ratings of a film in a market the latest by occur_time. That is decided over the whole log and
// then cut at the time asked for. It is written twice: plainly in count.go, which is what
// ComputeChart and ExplainRank read the ledger by, and one event at a time in fold.go. A property
// test holds the two against each other over random histories, crashes, purges and changes of
// leader. A market without a counted event of its own has the list of all markets together.
//
// # Formulas
//
//   - HOT at T: Σ w·2^(−(T−t)/half_life) over t ≤ T. RISING: HOT(half_life)/HOT(long_half_life).
//   - TOP_RATED: (Σ + m·C)/(n + m), C the mean of all latest ratings of the market.
//   - WILSON: lower bound of Wilson's score interval (JASA 22, 1927).
//   - MOST_WATCHED: watched seconds in (T−window, T], over the runtime.
//   - NEW: the later of the first window start in the market and the first publishing; absent
//     before that time.
//
// A film is absent where nothing counted: no event with a weight above 0, no rating, no play in
// the window, or an unknown runtime where that divides. Ties go by the score to 12 significant
// digits (by way of 15, see digits), then by name.
//
// # The fold
//
// The state is a sum over the log: per film and market the counts, (n, Σ, positives) over the
// latest ratings, decayed sums, and seconds by day. A decayed sum is Σ w·2^(t/half_life) with the
// landmark 1970 (forward decay: Cormode, Shkapenyuk, Srivastava, Xu, ICDE 2009), as a mantissa
// beside an integer exponent that counts whole half-lives. So its order does not depend on the
// time, twenty years at seven days are an exponent of 1043, and an event costs one rounding. What
// is replaced is taken away after its replacement was added; a sum that shrinks all the same
// by 2^20 (a half-life of minutes, a play replaced by one of hours before) is computed anew from
// the ledger. Of a window, the day it begins in is counted exactly, play by play.
//
// # Invariants
//
//   - The state is exactly the fold of the events at or below its watermark, cut at its time,
//     which never goes back. Events up to five minutes ahead wait.
//   - A checkpoint is made under the lease's epoch; a leader that lost it can store and publish
//     nothing. Whatever is doubtful (a lost lease, an unknown end of a transaction) makes the
//     leader throw its state away and read the checkpoint again. Folding twice from the same
//     place gives the same state.
//   - A checkpoint becomes the state with one transaction. Its segments are written before, 2 MiB at
//     a time, so that a take-down never waits for more than one of them.
//   - Lists in ledger order: no list is published before the ledger was folded up to where it
//     stood when the turn began.
//   - Counts of fewer than five children are told to nobody (FilmStats, ExplainRank); scores count
//     everyone.
//
// # Memory
//
// The keys of the last four UTC days take 16 bytes an event, plays 32, in Go maps that are
// between 7/8 and half full: 27 and 54 bytes on average, so 430 MB for ten million events of
// which six million are plays. Keys of older days, which imports bring, stay while they fit into
// four million; they are read again from the day's rows when they are needed. A viewer's latest
// rating of a film takes 55 bytes and a like 100, for good. A film in a market takes about 100
// bytes, 16 for every decayed sum of the charts in force (three for the built-in ones) and 16 for
// every day with plays within the longest window. A checkpoint takes about 60 bytes a film and
// market and 40 a rating; when its changes outgrow it, it is written whole.
//
// # Why
//
//   - Ratings in memory, not in a keyed SQL table: under random viewers a keyed table costs some
//     30 µs a row inside the writers' line, in which take-downs stand too. In memory it is 55
//     bytes, and the checkpoint's segments are appended.
//   - The checkpoint is a log of changed records, not a table of films: an upsert per film would
//     hold the writers' line for seconds under load.
//   - The state keeps sums for the weights and half-lives of the charts in force. One that asks for
//     another half-life, weight, threshold or longer window makes the leader fold the ledger from
//     its beginning; the last lists go on meanwhile. Sums per kind of event would spare that for
//     weights and cost seven times the memory.
//   - Whole lists are sorted (by radix, on 64-bit keys that hold exponent and mantissa) rather than
//     the best selected: rare genres and children's films want the tail too, and a sort of 100,000
//     films takes 2 ms.
//   - The world's list shows its first thousand to whoever shares it: a film counts as visible
//     there if any market that has no list of its own can see it.
//
// # Rejected
//
//   - Recomputing lists from the ledger: exact and simple, and it stays as the oracle; ten million
//     events take half a minute.
//   - Reading SQL for each event's key: a random read each.
//   - Dividing by 2 every half-life, or rescaling all sums: errors add up, and the order depends on
//     when it was done.
package rank
