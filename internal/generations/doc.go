// Package generations carries immutable, numbered ranked lists from the one leader that
// computes them to every replica that serves them: through Redis, with the latest of each
// also in SQL, so that a cold start needs no Redis. It owns the tables named generations_* and
// the keys theater:{store id}:* in Redis; the films' counts travel the same way.
//
// # Invariants
//
//   - A number is one list, on every replica, for ever: numbers come from SQL, under the
//     leader's lease and epoch, and count up over all lists of the store. A database restored to
//     an earlier moment goes on above every number that the leader or Redis still knows.
//   - No replica goes back: an item is installed only over one with a lower number, an index only
//     over one with a lower number. An older Redis (fail-over to a lagging replica) is ignored.
//   - What Redis holds is proven before it is used: the HMAC covers kind, key, number, count and
//     body, so that a truncation, a wrong type, foreign bytes, or our own bytes under another
//     name are a miss and a metric, never a list.
//   - A list that one replica shows is there for all: it is in SQL before it is shown, and in SQL
//     or Redis until all had time to read it. Where Redis does not have the latest lists, the
//     leader waits until they have stood in SQL for 3 s before it replaces them; every replica
//     reads the last number in SQL once a second. So a chain of pages goes on on any replica,
//     whatever Redis does.
//   - A replaced list is kept in memory for 16 minutes by every replica that had it, and in Redis
//     for at least 19. Both are bounded (below).
//   - Redis commands do not grow with requests: each replica reads the index once a second (and
//     when it is woken by pub/sub) and each new list once. Only a number that memory does not have
//     is asked for, once for all who want it and then not again for 10 s; such a request waits
//     60 ms at the most, whatever the client's settings, and not at all while the breaker is
//     open. Where Redis then does not give it, and it is above all numbers this replica has heard
//     of, the request wakes the follower of SQL and waits for what it brings, 250 ms at the most.
//     No request reads SQL.
//
// # When Redis is in trouble
//
// The leader (the process that published within the last minute) reads back every 15 s, and at
// once when the index is missing, old or foreign, how each list it keeps begins in Redis, and
// writes again what is not right: flushed, expired, overwritten, failed over or out of memory, it
// is back to normal within 15 s of taking writes again. Meanwhile, as always, every replica asks
// SQL once a second for the last number, and reads the lists if that is above its own. That is a
// bounded exception to "SQL is read by one leader": one row a second per replica, so that charts go
// on moving, and agree between replicas within a second, in every state of Redis. It does not
// depend on whether Redis looks healthy: one that is out of memory answers promptly, and is stale.
//
// A token may be quicker than that second. The replica it comes to has never heard of the list's
// number, so it has its follower look at once (At). The leader's wait costs nothing while it makes
// lists every 10 s.
//
// # Memory
//
// A list takes 40 bytes an entry in memory (names are shared between lists) and up to 24 bytes
// plus the film's id an entry in Redis, its allocator included; at most 16,384 entries. All lists
// of the last 16 minutes together are held to 512 MiB in each replica's memory by replacing each
// list less often when they are many: every (16 min × size of the current lists / 512 MiB). With
// 300 lists of 3,000 entries (36 MB) that is every 65 s, with 40 such lists every 9 s, which
// is less than the leader's own pause. Redis keeps them 20 minutes instead of 16: its worst case is
// 512 MiB × 20/16 × (24 + id bytes)/40, which is 704 MiB for ids of 20 bytes, plus one copy of the
// films' counts (about 40 bytes a film). An embedded Redis lives in the same process and counts
// twice.
//
// # Why
//
//   - One blob per list, not a sorted set: a list is read whole by each replica and never
//     changed in place, and one value can be authenticated.
//   - Counts are split into 64 shards by film, so that a few new plays move a few shards.
//   - A list in which only time passed is not a new list: see List.HalfLife.
//   - The breaker and the poll are two eyes on one thing: the poll decides within a second, the
//     breaker keeps requests from waiting until then.
//
// # Rejected
//
//   - Reading lists per request: one GET costs as much as three whole requests.
//   - Showing a list that Redis did not take only after a time in which all should have read it:
//     every change comes later by that time, and a Redis that takes a list and then dies or is
//     flushed still leaves others without it. Looking into SQL at once needs no such guess.
//   - A token that carries the list: too long, and a client could keep it for ever.
//   - Trusting expiry and replication alone after a fail-over: a lagging replica would serve
//     yesterday's list under today's number.
//   - Compressing blobs: scores hardly shrink, and every replica would pay for it.
package generations
