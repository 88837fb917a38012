package signals

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"hash"
	"maps"
	"slices"
	"sync"
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/sqldb"
)

// errKeyGone says that a day's key for children does not live any more.
var errKeyGone = errors.New("the day's key is gone")

// viewers turns viewer keys into hashes: the first 16 bytes of an HMAC-SHA256. Adults have one
// key, kept in SQL, so that nobody becomes another viewer when the root secret is changed. Children have one per UTC day, random, made once for all
// replicas, and deleted 72 hours after the day began: after that nobody can tell which child a
// row of that day is about, nor that two rows of two days are about one.
type viewers struct {
	db     *sqldb.DB
	now    func() time.Time
	adults *hasher

	mu   sync.Mutex
	kids map[int32]*hasher
}

func newViewers(ctx context.Context, db *sqldb.DB, keys *auth.Keys, now func() time.Time) (*viewers, error) {
	key, err := adultKey(ctx, db, keys)
	if err != nil {
		return nil, err
	}
	return &viewers{db: db, now: now, adults: newHasher(key), kids: map[int32]*hasher{}}, nil
}

// hash gives the viewer of an admitted event; errKeyGone when its day's key died meanwhile.
func (v *viewers) hash(ctx context.Context, e *ledger.Event, key string) (ledger.Viewer, error) {
	if e.Audience == pb.Viewer_ADULT {
		return v.adults.sum(key), nil
	}
	h, err := v.kidsOf(ctx, e.Day)
	if err != nil {
		return ledger.Viewer{}, err
	}
	return h.sum(key), nil
}

// kidsOf gives a day's hasher. Only the first child's event of a day waits for SQL.
func (v *viewers) kidsOf(ctx context.Context, day int32) (*hasher, error) {
	if !keyLives(day, v.now()) {
		return nil, errKeyGone
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if h := v.kids[day]; h != nil {
		return h, nil
	}
	key, err := dayKey(ctx, v.db, day)
	if err != nil {
		return nil, err
	}
	v.kids[day] = newHasher(key)
	return v.kids[day], nil
}

// all gives every hash a viewer key may have in the ledger now.
func (v *viewers) all(ctx context.Context, key string) ([]ledger.Viewer, error) {
	stored, err := dayKeys(ctx, v.db)
	if err != nil {
		return nil, err
	}
	hashes := []ledger.Viewer{v.adults.sum(key)}
	for _, day := range slices.Sorted(maps.Keys(stored)) {
		hashes = append(hashes, newHasher(stored[day]).sum(key))
	}
	return hashes, nil
}

// forget deletes the keys that have lived long enough, from memory even if SQL is down.
func (v *viewers) forget(ctx context.Context) error {
	v.mu.Lock()
	now := v.now()
	maps.DeleteFunc(v.kids, func(day int32, _ *hasher) bool { return !keyLives(day, now) })
	v.mu.Unlock()
	return deleteDayKeys(ctx, v.db, now)
}

// hasher is an HMAC with a fixed key, for many goroutines.
type hasher struct{ pool sync.Pool }

func newHasher(key []byte) *hasher {
	h := &hasher{}
	h.pool.New = func() any { return &hashState{mac: hmac.New(sha256.New, key)} }
	return h
}

type hashState struct {
	mac hash.Hash
	in  []byte
	out []byte
}

func (h *hasher) sum(key string) (v ledger.Viewer) {
	s := h.pool.Get().(*hashState)
	s.mac.Reset()
	s.in = append(s.in[:0], key...)
	s.mac.Write(s.in)
	s.out = s.mac.Sum(s.out[:0])
	copy(v[:], s.out)
	clear(s.in)
	h.pool.Put(s)
	return v
}
