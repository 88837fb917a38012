package app_test

import (
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/app"
	"github.com/aitheater/theater/internal/theatertest"
	"github.com/aitheater/theater/internal/theatertest/house"
)

// ListReplicas tells each replica's state, also of one that fell silent.
func TestListReplicasTellsWhoIsThere(t *testing.T) {
	t.Parallel()
	store, redis := theatertest.Postgres(t), theatertest.Redis(t)
	parsed, err := url.Parse(store)
	require.NoError(t, err)
	line := theatertest.NewProxy(t, parsed.Host)
	a := house.Start(t, app.Config{Store: store, Redis: redis})
	list := func() []*pb.Replica {
		answer, err := a.Curation.ListReplicas(t.Context(), &pb.ListReplicasRequest{})
		require.NoError(t, err)
		return answer.GetReplicas()
	}
	ready := func(r *pb.Replica) bool { return r.GetReady() && r.GetLag() == 0 }
	eventually(t, time.Minute, "the first is there", func() bool { l := list(); return len(l) == 1 && ready(l[0]) })
	first := list()[0].GetId()
	b := house.Start(t, app.Config{Store: line.URL(store), Redis: redis})
	load(t, a, feature("a"))
	eventually(t, time.Minute, "both have what is newest", func() bool {
		l := list()
		return len(l) == 2 && ready(l[0]) && ready(l[1]) && l[0].GetAppliedRevision() == l[1].GetAppliedRevision()
	})
	second := func() *pb.Replica {
		l := list()
		i := slices.IndexFunc(l, func(r *pb.Replica) bool { return r.GetId() != first })
		require.GreaterOrEqual(t, i, 0)
		return l[i]
	}

	line.BlackHole()
	load(t, a, feature("b"))
	eventually(t, time.Minute, "it falls behind", func() bool { return second().GetLag() > 0 })
	// Half a minute passes.
	c, err := pgx.Connect(t.Context(), store)
	require.NoError(t, err)
	_, err = c.Exec(t.Context(), "UPDATE changes_replicas SET seen = seen - 31000000 WHERE id <> $1", first)
	require.NoError(t, err)
	require.NoError(t, c.Close(t.Context()))
	assert.False(t, second().GetReady(), "what it said last is not true for ever")
	line.Heal()
	eventually(t, time.Minute, "it is back", func() bool { return ready(second()) })
	b.Stop()
	eventually(t, time.Minute, "it has said goodbye", func() bool { return len(list()) == 1 })
}
