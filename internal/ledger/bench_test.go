package ledger_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/theatertest"
)

// BenchmarkDays reads 200,000 rows of one day, as a new leader does; ns/row is what counts.
func BenchmarkDays(b *testing.B) {
	for _, store := range []string{"sqlite", "postgres"} {
		b.Run(store, func(b *testing.B) {
			url := theatertest.SQLite(b)
			if store == "postgres" {
				url = theatertest.Postgres(b)
			}
			l, _ := open(b, url)
			const rows = 200_000
			for n := 0; n < rows; n += 1000 {
				events := make([]ledger.Event, 1000)
				for i := range events {
					events[i] = play(20000, fmt.Sprint("film-", i%100), rand.Int())
				}
				require.NoError(b, l.Append(b.Context(), events, nil))
			}
			began, total := time.Now(), 0
			for b.Loop() {
				require.NoError(b, l.Days(b.Context(), 20000, 20000, rows, "", func(*ledger.Event) error { total++; return nil }))
			}
			b.ReportMetric(float64(time.Since(began).Nanoseconds())/float64(total), "ns/row")
		})
	}
}
