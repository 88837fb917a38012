package changes

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/sqldb"
)

const (
	// reportEvery is how often a replica says that it is there, changes or not.
	reportEvery = 5 * time.Second
	// seenWithin is how long a silent replica is waited for.
	seenWithin = 30 * time.Second
	// beaconEvery is how often the head goes through Redis.
	beaconEvery = time.Second
	// unconfirmedFor is how long a replica may know of a newer head than its own.
	unconfirmedFor = 5 * time.Second
	// redisLimit bounds one exchange with Redis.
	redisLimit = 60 * time.Millisecond
)

// report tells the other replicas how far this one has come, through SQL where several
// processes may share it, and the head through Redis.
func (l *Log) report(ctx context.Context) error {
	beats, beacons := time.NewTicker(reportEvery), time.NewTicker(beaconEvery)
	defer beats.Stop()
	defer beacons.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-beacons.C:
			l.shine(ctx)
			continue
		case <-l.beat:
		case <-beats.C:
		}
		if !l.db.Postgres() {
			continue
		}
		if err := l.sayApplied(ctx); err != nil && ctx.Err() == nil {
			slog.DebugContext(ctx, "other replicas could not be told", "error", err)
		}
	}
}

func (l *Log) sayApplied(ctx context.Context) error {
	status := l.Status()
	ready := 0
	if status.Ready {
		ready = 1
	}
	return l.db.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`INSERT INTO changes_replicas (id, applied, ready, seen) VALUES ($1, $2, $3, $4)
			ON CONFLICT (id) DO UPDATE SET applied = excluded.applied, ready = excluded.ready, seen = excluded.seen`,
			l.replica, status.Applied, ready, tx.Now().UnixMicro())
		return err
	})
}

// shine tells the head through Redis while the database answers, and listens while it does
// not: a head beyond ours that stays unconfirmed for 5 s means that we are cut off.
func (l *Log) shine(ctx context.Context) {
	s := l.state.Load()
	if l.beacon == nil || !s.loaded {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, redisLimit)
	defer cancel()
	key := "theater:{" + l.db.StoreID() + "}:head"
	if time.Since(s.polled) < beaconEvery {
		err := l.beacon.Set(ctx, key, s.head, time.Hour).Err()
		if err != nil {
			slog.DebugContext(ctx, "the head could not be told through Redis", "error", err)
		}
		var reply redis.Error
		if refused := errors.As(err, &reply); refused != s.refused {
			l.change(func(s *state) { s.refused = refused })
		}
		return
	}
	text, err := l.beacon.Get(ctx, key).Result()
	if err != nil {
		if !errors.Is(err, redis.Nil) {
			slog.DebugContext(ctx, "the head could not be read through Redis", "error", err)
		}
		return // cut off from both: serve on, degraded
	}
	head, err := strconv.ParseInt(text, 10, 64)
	if err != nil || head <= s.head {
		return
	}
	l.change(func(s *state) {
		if time.Since(s.polled) < beaconEvery {
			return
		}
		if s.ahead.IsZero() {
			s.ahead = time.Now()
		}
		if !s.cutOff && time.Since(s.ahead) >= unconfirmedFor {
			s.cutOff = true
			slog.Error("cut off: others have newer state than can be read here; refusing viewers", "head", head, "applied", l.Applied())
		}
	})
}

// Confirm waits up to limit until every replica seen in the last 30 s shows revision.
// Replicas not seen for longer, but within a day, are lost: cut off or gone.
func (l *Log) Confirm(ctx context.Context, revision int64, limit time.Duration) (confirmed, pending, lost int) {
	deadline := time.Now().Add(limit)
	if err := l.Wait(ctx, revision, limit); err != nil {
		pending = 1
	}
	if !l.db.Postgres() {
		return 1 - pending, pending, 0
	}
	for {
		replicas, err := l.Replicas(ctx)
		if err == nil {
			confirmed, pending, lost = l.tally(replicas, revision)
		}
		if pending == 0 && err == nil || time.Now().Add(50*time.Millisecond).After(deadline) || ctx.Err() != nil {
			return confirmed, pending, lost
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (l *Log) tally(replicas []*pb.Replica, revision int64) (confirmed, pending, lost int) {
	now := l.db.Clock().Now()
	for _, r := range replicas {
		applied := r.GetAppliedRevision()
		if r.GetId() == l.replica {
			applied = max(applied, l.Applied())
		}
		switch {
		case applied >= revision:
			confirmed++
		case now.Sub(r.GetSeenTime().AsTime()) > seenWithin:
			lost++
		default:
			pending++
		}
	}
	return confirmed, pending, lost
}

// Replicas gives the replicas heard of within a day, by id; on SQLite this one.
func (l *Log) Replicas(ctx context.Context) (replicas []*pb.Replica, err error) {
	self := l.Status()
	if !l.db.Postgres() {
		return []*pb.Replica{{Id: l.replica, AppliedRevision: self.Applied, Lag: self.Head - self.Applied, Ready: self.Ready, SeenTime: timestamppb.New(l.db.Clock().Now())}}, nil
	}
	err = l.db.Read(ctx, func(tx *sqldb.Tx) error {
		replicas = nil
		head, _, err := readHead(tx)
		if err != nil {
			return err
		}
		rows, err := tx.Query(`SELECT id, applied, ready, seen FROM changes_replicas WHERE seen > $1 ORDER BY id`, tx.Now().Add(-memoryOf).UnixMicro())
		if err != nil {
			return err
		}
		now := tx.Now()
		return each(rows, func() error {
			r, ready, seen := new(pb.Replica), 0, int64(0)
			if err := rows.Scan(&r.Id, &r.AppliedRevision, &ready, &seen); err != nil {
				return err
			}
			last := time.UnixMicro(seen).UTC()
			r.Lag, r.SeenTime = head-r.GetAppliedRevision(), timestamppb.New(last)
			r.Ready = ready == 1 && now.Sub(last) <= seenWithin // what it last said, while it still speaks
			replicas = append(replicas, r)
			return nil
		})
	})
	return replicas, err
}

// Leave removes this replica, so that nobody waits for it; call it when stopping.
func (l *Log) Leave(ctx context.Context) error {
	if !l.db.Postgres() {
		return nil
	}
	return l.db.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`DELETE FROM changes_replicas WHERE id = $1`, l.replica)
		return err
	})
}
