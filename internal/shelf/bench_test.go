package shelf

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/changes"
)

// typical is a film such as the demo and imports bring, about 1.5 KB on the wire.
func typical(i int) *pb.Film {
	r := rand.New(rand.NewPCG(1, uint64(i)))
	pick := func(from []string, n int) (out []string) {
		for _, j := range r.Perm(len(from))[:n] {
			out = append(out, from[j])
		}
		return out
	}
	return film(fmt.Sprintf("films/film-%07d", i), func(f *pb.Film) {
		f.Uid, f.Etag, f.Revision = fmt.Sprintf("00000000-0000-4000-8000-%012d", i), fmt.Sprintf("%016x", i), 1
		f.CreateTime, f.UpdateTime = timestamppb.New(now.Add(-time.Duration(i)*time.Second)), timestamppb.New(now)
		f.Localizations = map[string]*pb.FilmLocalization{
			"en":      {Title: fmt.Sprintf("The Garden of the %d Robots", i), Tagline: "They only wanted to water the roses.", Synopsis: "In a city that has forgotten its rivers a machine learns to listen, and a girl who lost her voice learns to speak to it before the last well runs dry."},
			"zh-Hans": {Title: fmt.Sprintf("%d个机器人的花园", i), Synopsis: "在一座遗忘了河流的城市里，一台机器学会了倾听。"},
		}
		f.Genres = pick([]string{"drama", "comedy", "animals", "science-fiction", "children", "fantasy", "history"}, 2)
		f.Tags, f.Countries, f.Languages = pick([]string{"robots", "garden", "winter", "friendship", "space"}, 2), pick(someMarkets, 1), []string{"zh", "en"}
		f.ReleaseDate = &pb.PartialDate{Year: int32(1980 + r.IntN(46)), Month: int32(r.IntN(13))}
		f.Runtime = durationpb.New(time.Duration(300+r.IntN(9000)) * time.Second)
		f.Availability = []*pb.Availability{{Markets: []string{"CN", "US", "GB", "SG"}, Licensor: "AI Theater", StartTime: timestamppb.New(now.AddDate(0, -1, 0)), EndTime: timestamppb.New(now.AddDate(1, 0, 0))}}
		f.Ratings = []*pb.Rating{{Market: "US", System: "MPA", Code: "G"}, {Market: "GB", System: "BBFC", Code: "U"}}
		f.Licenses = []*pb.License{{Market: "CN", Kind: "online-film", Number: fmt.Sprintf("X-%d", i)}}
		f.Credits = []*pb.Credit{{Role: "director", Names: map[string]string{"en": "Wen Ye", "zh-Hans": "温野"}}, {Role: "writer", Names: map[string]string{"en": "Li Dan"}}}
		for _, size := range []int32{320, 640} {
			f.Artwork = append(f.Artwork, &pb.Artwork{Kind: pb.Artwork_POSTER, Uri: fmt.Sprintf("/art/film-%07d/poster.svg?w=%d", i, size), Width: size, Height: size * 3 / 2})
		}
		f.Media = []*pb.Media{{Kind: pb.Media_MAIN, AssetId: fmt.Sprintf("main-%d", i), Duration: f.Runtime, AudioLanguages: []string{"zh"}}}
		f.Provenance.Stages = []*pb.ProductionStage{{Stage: pb.ProductionStage_VIDEO, AiShare: 0.9, Tool: "Veo", ToolVersion: "3", Vendor: "Google", HumanRole: "direction"}, {Stage: pb.ProductionStage_MUSIC, AiShare: 1, Tool: "Suno"}}
	})
}

// catalogue encodes n typical films once for all benchmarks.
var catalogue = sync.OnceValue(func() func(n int) []changes.Resource {
	var all []changes.Resource
	return func(n int) []changes.Resource {
		for i := len(all); i < n; i++ {
			body, err := proto.Marshal(typical(i))
			if err != nil {
				panic(err)
			}
			all = append(all, changes.Resource{Name: fmt.Sprintf("films/film-%07d", i), Revision: 1, Body: body})
		}
		return all[:n]
	}
})

func loadN(b testing.TB, n int) *Shelf {
	rows := catalogue()(n)
	s := New()
	require.NoError(b, s.Load(1, func() (r changes.Resource, ok bool) {
		if len(rows) == 0 {
			return r, false
		}
		r, rows = rows[0], rows[1:]
		return r, true
	}))
	return s
}

var sizes = []int{100_000, 1_000_000}

func BenchmarkLoad(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			catalogue()(n)
			var bytes int
			for _, r := range catalogue()(n) {
				bytes += len(r.Body)
			}
			var s *Shelf
			var before, after runtime.MemStats
			defer cpu(b)()
			for b.Loop() {
				s = nil //nolint:ineffassign // for the collector, which must not find the last round's
				runtime.GC()
				runtime.ReadMemStats(&before)
				start := time.Now()
				s = loadN(b, n)
				b.ReportMetric(float64(n)/time.Since(start).Seconds(), "films/s")
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/film-over-body")
			b.ReportMetric(float64(bytes)/float64(n), "B/body")
			runtime.KeepAlive(s)
		})
	}
}

// BenchmarkApply is one change of one film, at random.
func BenchmarkApply(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := loadN(b, n)
			rows := catalogue()(n)
			b.ReportAllocs()
			defer cpu(b)()
			for i := 0; b.Loop(); i++ {
				r := rows[i*7919%n]
				r.Revision = int64(i + 2)
				s.Apply(r.Revision, []changes.Resource{r})
			}
		})
	}
}

func BenchmarkGate(b *testing.B) {
	snap := loadN(b, 100_000).Current()
	viewers := map[string]*Viewer{"adult": adult, "child": NewViewer(&pb.Viewer{Market: "US", AgeBand: pb.Film_AGE_8})}
	for name, v := range viewers {
		b.Run(name+"/same", func(b *testing.B) {
			e := snap.At(7)
			b.ReportAllocs()
			defer cpu(b)()
			for b.Loop() {
				snap.Gate(v, e, now)
			}
		})
		b.Run(name+"/all", func(b *testing.B) {
			b.ReportAllocs()
			defer cpu(b)()
			for i := uint32(0); b.Loop(); i++ {
				snap.Gate(v, snap.At(i%100_000), now)
			}
		})
	}
}

// BenchmarkVersions is what validating an encoded page of 20 costs.
func BenchmarkVersions(b *testing.B) {
	s := loadN(b, 100_000)
	var slots [20]uint32
	var versions [20]uint64
	for i := range slots {
		slots[i] = uint32(i * 4801)
		versions[i] = s.Version(slots[i])
	}
	b.ReportAllocs()
	defer cpu(b)()
	for b.Loop() {
		for i, slot := range slots {
			if s.Version(slot) != versions[i] {
				b.Fatal("changed")
			}
		}
	}
}

func BenchmarkAppendCard(b *testing.B) {
	snap := loadN(b, 100_000).Current()
	v := NewViewer(&pb.Viewer{Market: "CN", Audience: pb.Viewer_ADULT, Languages: []string{"zh-CN", "en"}})
	buf := make([]byte, 0, 4096)
	b.Run("kept", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		for i := uint32(0); b.Loop(); i++ {
			buf = snap.AppendCard(buf[:0], snap.At(i%1000), v, Playing, now)
		}
		b.ReportMetric(float64(len(buf)), "B/card")
	})
	b.Run("encoded", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		e := snap.At(7)
		for b.Loop() {
			e.cards.Store(nil)
			buf = snap.AppendCard(buf[:0], e, v, Playing, now)
		}
	})
}

func BenchmarkSelect(b *testing.B) {
	snap := loadN(b, 100_000).Current()
	for _, c := range [][2]string{
		{"", ""}, {`genres:"drama" AND release_date >= "1990-01-01"`, ""}, {"runtime >= 7200s", "release_date desc"},
		{`title:"robots"`, ""}, {"rating_count >= 0 AND markets:US", "rating_count desc"},
	} {
		b.Run(c[0]+"/"+c[1], func(b *testing.B) {
			f, err := CompileFilter(c[0])
			require.NoError(b, err)
			o, err := CompileOrder(c[1])
			require.NoError(b, err)
			b.ReportAllocs()
			defer cpu(b)()
			n := 0
			for b.Loop() {
				n = len(snap.Select(f, o, now, false))
			}
			b.ReportMetric(float64(n), "films")
		})
	}
}

func BenchmarkCompileFilter(b *testing.B) {
	for b.Loop() {
		_, err := compileFilter(`genres:"drama" AND release_date >= "1990-01-01" AND runtime >= 7200s`)
		require.NoError(b, err)
	}
}

// cpu reports processor time an operation: the figure that other processes do not disturb.
func cpu(b *testing.B) func() {
	used := func() time.Duration {
		var u syscall.Rusage
		require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	start := used()
	return func() { b.ReportMetric(float64(used()-start)/float64(b.N), "cpu-ns/op") }
}
