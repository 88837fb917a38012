package generations

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	pb "github.com/aitheater/theater/api/theater/v1"
)

var testSecret = bytes.Repeat([]byte{7}, 32)

func plainName(b []byte) string { return filmPrefix + string(b) }

func sealList(l *List) []byte {
	return seal(testSecret, kindList, id{l.Chart, l.Market}, l.Number, len(l.Entries), encodeList(l))
}

func openList(key id, number int64, blob []byte) (*List, error) {
	h, body, err := open(testSecret, kindList, key, number, blob)
	if err != nil {
		return nil, err
	}
	return decodeList(key, h, body, plainName)
}

// someList draws a list with any names, scores and ranks a leader could come up with.
func someList(t *rapid.T) *List {
	n := rapid.IntRange(0, 30).Draw(t, "entries")
	l := &List{
		Chart: "charts/" + rapid.StringMatching(`[a-z]{1,10}`).Draw(t, "chart"), Market: rapid.SampledFrom([]string{"US", "CN", World}).Draw(t, "market"),
		Number: rapid.Int64Range(1, math.MaxInt64).Draw(t, "number"), ChartRevisionID: rapid.String().Draw(t, "revision"),
		ComputeTime: time.UnixMicro(rapid.Int64Range(-1e15, 1e16).Draw(t, "time")).UTC(), Head: rapid.IntRange(0, n).Draw(t, "head"),
		TraceID: [16]byte{1, 2, 3}, SpanID: [8]byte{4, 5}, Entries: []Entry{},
	}
	rank := rapid.Int32Range(0, math.MaxInt32)
	for range n {
		l.Entries = append(l.Entries, Entry{
			Film: filmPrefix + rapid.String().Draw(t, "film"), Score: rapid.Float64().Draw(t, "score"),
			Rank: rank.Draw(t, "rank"), Previous: rank.Draw(t, "previous"), Peak: rank.Draw(t, "peak"),
		})
	}
	return l
}

func TestListSurvivesItsBlob(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := someList(t)
		got, err := openList(id{l.Chart, l.Market}, l.Number, sealList(l))
		require.NoError(t, err)
		require.Equal(t, l, got)
	})
}

func TestBlobIsTakenWholeAndUnderItsOwnNameOrNotAtAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := someList(t)
		key, blob := id{l.Chart, l.Market}, sealList(l)
		cut := rapid.IntRange(0, len(blob)-1).Draw(t, "cut")
		_, err := openList(key, l.Number, blob[:cut])
		require.ErrorIs(t, err, errForeign, "truncated")
		_, err = openList(key, l.Number, append(bytes.Clone(blob), 0))
		require.ErrorIs(t, err, errForeign, "longer")
		flipped := bytes.Clone(blob)
		flipped[cut] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		_, err = openList(key, l.Number, flipped)
		require.ErrorIs(t, err, errForeign, "altered")
		_, err = openList(id{l.Chart, "XX"}, l.Number, blob)
		require.ErrorIs(t, err, errForeign, "of another market")
		if l.Number > 1 {
			_, err = openList(key, l.Number-1, blob)
			require.ErrorIs(t, err, errForeign, "of another number")
		}
		_, _, err = open(testSecret, kindStats, key, l.Number, blob)
		require.ErrorIs(t, err, errForeign, "of another kind")
		_, _, err = open(bytes.Repeat([]byte{8}, 32), kindList, key, l.Number, blob)
		require.ErrorIs(t, err, errForeign, "of another secret")
	})
}

func TestIndexAndCountsSurviveTheirBlobs(t *testing.T) {
	x := &index{number: 9, lists: map[id]int64{{"charts/hot", "US"}: 7, {"charts/new", World}: 9, {statsChart, "03"}: 1}}
	h, body, err := open(testSecret, kindIndex, indexKey, 0, seal(testSecret, kindIndex, indexKey, 9, 3, encodeIndex(x)))
	require.NoError(t, err)
	got, err := decodeIndex(h, body)
	require.NoError(t, err)
	assert.Equal(t, x, got)

	stats := map[string]*pb.FilmStats{"films/a": {Plays: 3, RatingAverage: 4.5}, "films/b": {}}
	body, err = encodeStats(stats, []string{"films/a", "films/b"})
	require.NoError(t, err)
	counts, err := decodeStats(header{count: 2}, body, plainName)
	require.NoError(t, err)
	require.Len(t, counts, 2)
	assert.EqualValues(t, 3, counts["films/a"].GetPlays())
	assert.InDelta(t, 4.5, counts["films/a"].GetRatingAverage(), 0)
}

func TestNewListIsOneThatSaysSomethingElse(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	base := func() *List {
		return &List{ChartRevisionID: "1", ComputeTime: at, Head: 2, HalfLife: time.Hour, Entries: []Entry{{"films/a", 8, 1, 0, 1}, {"films/b", 4, 2, 0, 2}}}
	}
	for name, c := range map[string]struct {
		change func(*List)
		want   bool
	}{
		"nothing":            {func(*List) {}, false},
		"only time passed":   {func(l *List) { l.ComputeTime = at.Add(time.Hour); l.Entries[0].Score, l.Entries[1].Score = 4, 2 }, false},
		"time without decay": {func(l *List) { l.ComputeTime = at.Add(time.Hour) }, true},
		"previous and peak":  {func(l *List) { l.Entries[0].Previous, l.Entries[0].Peak = 1, 1 }, false},
		"a score":            {func(l *List) { l.Entries[1].Score = 4.0001 }, true},
		"the order":          {func(l *List) { l.Entries[0], l.Entries[1] = l.Entries[1], l.Entries[0] }, true},
		"a rank":             {func(l *List) { l.Entries[1].Rank = 0 }, true},
		"the head":           {func(l *List) { l.Head = 1 }, true},
		"a film less":        {func(l *List) { l.Entries = l.Entries[:1] }, true},
		"the definition":     {func(l *List) { l.ChartRevisionID = "2" }, true},
		"constant, later":    {func(l *List) { l.HalfLife = 0; l.ComputeTime = at.Add(time.Hour) }, false},
	} {
		l := base()
		c.change(l)
		assert.Equal(t, c.want, differs(base(), l), name)
	}
}

// FuzzBlob feeds any bytes to every decoder, behind the check and past it, as if somebody knew
// the secret. Nothing may panic, nor take memory that the bytes do not account for.
func FuzzBlob(f *testing.F) {
	l := &List{Chart: "charts/hot", Market: "US", Number: 3, Entries: []Entry{{"films/a", 1, 1, 1, 1}, {"films/b", .5, 2, 0, 2}}}
	f.Add(sealList(l), 2)
	f.Add(encodeList(l), 2)
	f.Add(encodeIndex(&index{lists: map[id]int64{{"charts/hot", "US"}: 3}}), 1)
	body, err := encodeStats(map[string]*pb.FilmStats{"films/a": {Plays: 1}}, []string{"films/a"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body, 1)
	f.Fuzz(func(t *testing.T, data []byte, count int) {
		key := id{l.Chart, l.Market}
		if got, err := openList(key, 0, data); err == nil {
			require.Equal(t, data, sealList(got), "what opens is what we sealed")
		}
		if _, _, err := open(nil, kindList, key, 0, data); err != nil {
			require.ErrorIs(t, err, errForeign)
		}
		h := header{kind: kindList, key: key.String(), number: 3, count: max(count, 0), body: len(data)}
		if got, err := decodeList(key, h, data, plainName); err == nil {
			require.Len(t, got.Entries, h.count)
		}
		if got, err := decodeIndex(h, data); err == nil {
			require.LessOrEqual(t, len(got.lists), h.count)
		}
		if got, err := decodeStats(h, data, plainName); err == nil {
			require.LessOrEqual(t, len(got), h.count)
		}
	})
}
