package signals

import (
	"bytes"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/theatertest"
)

// ring makes keys of root secrets named by a byte each, the first of which seals.
func ring(t testing.TB, names ...byte) *auth.Keys {
	t.Helper()
	var roots [][]byte
	for _, name := range names {
		roots = append(roots, bytes.Repeat([]byte{name}, 32))
	}
	keys, err := auth.NewKeys(roots...)
	require.NoError(t, err)
	return keys
}

func TestAdultsStayTheSameViewersWhenTheRootSecretIsChanged(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		db := open(t, url)
		// What a service hashed with that did not keep the key yet.
		ann := newHasher(ring(t, 'a').Derive("signals viewer", 32)).sum("ann")
		for _, roots := range [][]byte{{'a'}, {'a', 'b'}, {'b', 'a'}, {'b'}, {'b', 'c'}, {'c', 'b'}, {'c'}} {
			r := startWith(t, db, ring(t, roots...))
			_, err := r.RecordEvents(asService(t), &pb.RecordEventsRequest{Events: []*pb.Event{recent("films/f1", "ann")}})
			require.NoError(t, err)
			rows := r.rows(t)
			require.Equal(t, ann, rows[len(rows)-1].Viewer, string(roots))
			r.stop()
		}
		r := startWith(t, db, ring(t, 'c'))
		purged, err := r.PurgeViewer(asService(t), &pb.PurgeViewerRequest{ViewerKey: "ann"})
		require.NoError(t, err)
		assert.EqualValues(t, 7, purged.GetEventCount(), "all of them are found")
		_, err = newViewers(t.Context(), db, ring(t, 'x'), r.now)
		require.ErrorContains(t, err, "root secret", "rather no start than other viewers")
		for name, cells := range everything(t, db) {
			for _, cell := range cells {
				require.NotContains(t, string(cell), string(ring(t, 'a').Derive("signals viewer", 32)), name)
			}
		}
	})
}

// A service that goes over from the database's own root secret to one in a file.
func TestTheFirstSecretFileChangesNoViewer(t *testing.T) {
	db := open(t, theatertest.SQLite(t))
	own, err := auth.NewKeys(db.RootSecret())
	require.NoError(t, err)
	before, err := adultKey(t.Context(), db, own)
	require.NoError(t, err)
	for range 2 {
		after, err := adultKey(t.Context(), db, ring(t, 'f'))
		require.NoError(t, err)
		assert.Equal(t, before, after)
	}
	var sealed string
	require.NoError(t, db.Read(t.Context(), func(tx *sqldb.Tx) error {
		return tx.QueryRow(`SELECT sealed FROM signals_keys`).Scan(&sealed)
	}))
	_, err = own.Open(sealedFor, sealed, nil)
	assert.Error(t, err, "who has the database has not the key any more")
}

// Replicas that differ in which secret seals come up at once on a new database.
func TestReplicasRacingForTheKeyAgree(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		dbs := []*sqldb.DB{open(t, url)}
		if dbs[0].Postgres() {
			dbs = append(dbs, open(t, url), open(t, url))
		}
		found := make([][]byte, 12)
		var replicas sync.WaitGroup
		for i := range found {
			replicas.Go(func() {
				keys := ring(t, 'a', 'b')
				if i%2 == 1 {
					keys = ring(t, 'b', 'a')
				}
				var err error
				found[i], err = adultKey(t.Context(), dbs[i%len(dbs)], keys)
				assert.NoError(t, err)
			})
		}
		replicas.Wait()
		for _, key := range found {
			require.Len(t, key, 32)
			require.Equal(t, found[0], key)
		}
	})
}
