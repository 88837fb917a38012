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
// leader. A market without a counted event of its own has the list of all markets together: the
// world's, or, where that has too few of its films, one of its own of the same numbers.
//
// Retention removes events 400 days after their receipt, ratings excepted, from the ledger but
// not from the sums: lists go on from what they knew, and by the formulas they are right.
// ComputeChart and ExplainRank can only count what is still there, and so can a leader that
// folds from the beginning. What they miss is, of a sum, as much as 2^(-400 days/half-life) of the
// weight it had: nothing at a half-life of 7 days (2^-57), a ten-thousandth at 30, up to one half at
// the longest, 400. Windows, which are 400 days at most, miss nothing.
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
// beside an integer exponent: whole half-lives count into that. So its order does not depend on
// the time, twenty years at seven days are an exponent of 1043, and an event costs one rounding.
// What is replaced is taken away after its replacement was added. The exponent stays that of the
// largest the sum was, also in checkpoints, so that the mantissa says how much it shrank since: by
// more than 2^10 (a half-life of an hour, plays replaced by ones of ten hours before, at once or
// little by little) and it is computed anew from the film's last events in the ledger. Of a
// window, the day it begins in is counted exactly, play by play.
//
// # Taking over
//
// A checkpoint holds everything a leader knows, also the keys of the recent days and of those a
// window may begin in: what was added since the last checkpoint is appended to the day, and a day
// is read only when an event of it comes. So a new leader reads the numbers, then today's keys,
// and folds what came after the checkpoint; it reads no event twice. Measured on two busy cores
// (BenchmarkFold; all four recent days' keys were asked for): one million events in the last four
// days 0.5 s on SQLite, two million 1.5 s on PostgreSQL, and ten million 17 s on SQLite, at a time
// when the same machine folded a third of what it usually does. Where keys cannot be read, or an
// older version led meanwhile, the day's events are, at 8 µs each.
//
// A chart that asks for sums nobody kept makes the leader fold a second state, from the beginning
// of the ledger, one batch between two looks at what is new. Until that has caught up, the
// chart's last lists go on and all other charts move as ever. A leader that is deposed meanwhile
// leaves that to the next one to begin again.
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
//     a time, so that a take-down never waits for more than one of them; what a checkpoint left
//     behind that came to no end is deleted by the next.
//   - The lease is renewed beside the work, however long a piece of it takes; whoever lost it stops.
//   - What a purge renamed is in no segment under its old name an hour later.
//   - Lists in ledger order: no list is published before the ledger was folded up to where it
//     stood when the turn began.
//   - Counts of fewer than five children are told to nobody (FilmStats, ExplainRank); scores count
//     everyone.
//
// # Memory
//
// Measured with ten million events in the last four days (BenchmarkFold): 73 bytes of the heap for
// every event, all told. A key of these days takes 55 bytes on average: 25 bytes a slot, of a play
// 33, in Go maps that are between 7/16 and 7/8 full. Keys of older days, which imports bring, stay
// while they fit into four million; they are read again when they are needed. A viewer's latest
// rating of a film takes 55 bytes and a like 100, for good. A film in a market takes about 100
// bytes, 16 for every decayed sum of the charts in force (three for the built-in ones) and 16 for
// every day with plays within the longest window. While a changed chart is folded anew, all of
// it is there twice. A checkpoint takes about 60 bytes a film and market, 40 a rating, 18 a key and 33
// a play of the days whose keys it holds: 41 bytes an event in that measurement. When the changes
// to the numbers outgrow them, these are written whole; days never are.
//
// # Why
//
//   - Ratings in memory, not in a keyed SQL table: under random viewers a keyed table costs some
//     30 µs a row inside the writers' line, in which take-downs stand too. In memory it is 55
//     bytes, and the checkpoint's segments are appended.
//   - The checkpoint is a log of changed records, not a table of films: an upsert per film would
//     hold the writers' line for seconds under load.
//   - A day's keys hold a hash of the film, not its number or row, which are another leader's: so
//     they are stored and read back as they are, and a purge finds a viewer's by half a hash.
//   - The state keeps sums for the weights and half-lives of the charts in force. Sums per kind of
//     event would spare the second state for weights and cost seven times the memory.
//   - A list holds every film while all lists together are small (131,072 entries: 16 lists of 8,192
//     films), and says how far that goes by the ranks of its entries. Behind it stand only films
//     that a genre, a content type or a band of children lacks. A filtered page ends where those have
//     their fill: what comes after could have gaps (package listing, walk.filled).
//   - As many films are sorted (by radix, on 64-bit keys that hold exponent and mantissa) as a list
//     may hold, and of the rest those of genres and ages it still lacks: 50 markets with 6 charts
//     over 100,000 films take 1.4 to 1.6 s of one core, of which asking the gate is the most.
//   - The world's list shows its first thousand to whoever shares it: a film counts as visible
//     there if any market that has no list of its own can see it. A list for each named market
//     would be right too, and a hundred times the work where all see the same films.
//
// # Rejected
//
//   - Recomputing lists from the ledger: exact and simple, and it stays as the oracle; ten million
//     events take half a minute.
//   - Reading SQL for each event's key: a random read each.
//   - Reading the recent days' events at take-over: 8 µs a row on SQLite, longer than a lease.
//   - Dividing by 2 every half-life, or rescaling all sums: errors add up, and the order depends on
//     when it was done.
package rank
