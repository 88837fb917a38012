package curation

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/sqldb"
)

const serviceName = "theater.v1.CurationService/"

// Films is what a release and an undo need from the catalogue.
type Films interface {
	// ChangeState gives the change that moves a film, nil when it is there already.
	ChangeState(w *changes.Writer, name string, state pb.Film_State, note string) (*changes.Change, error)
	// CheckState says what stands in the way of ChangeState at a time.
	CheckState(film *pb.Film, state pb.Film_State, at time.Time) []fault.Violation
}

// Restorer makes an earlier body of a resource the current one under today's rules, if
// the caller of ctx may; nil when nothing differs.
type Restorer interface {
	Restore(ctx context.Context, w *changes.Writer, name string, body []byte, etag string) (*changes.Change, error)
}

// Pages composes a page by the code that serves.
type Pages interface {
	ComposeHome(snap *shelf.Snapshot, lists func(chart, market string) *generations.List, v *pb.Viewer, page string, at time.Time, sections, cards int32) (*pb.PreviewHomeResponse, error)
}

// Rankings computes what a chart was at a time, from the ledger; nil for an unknown chart.
type Rankings interface {
	AsOf(ctx context.Context, snap *shelf.Snapshot, chart, market string, at time.Time) (*generations.List, error)
}

// Config is what a Service is made of; every field is required.
type Config struct {
	Log         *changes.Log
	Shelf       *shelf.Shelf
	Generations *generations.Store
	Keys        *auth.Keys
	Clock       *sqldb.Clock
	Films       Films
	Pages       Pages
	Rankings    Rankings
	// Catalog restores films and genres, Charts restores charts.
	Catalog, Charts Restorer
	// BuiltinCharts, BuiltinSections and BuiltinLayouts ship with the program; a stored
	// resource of the same name takes their place.
	BuiltinCharts   []*pb.Chart
	BuiltinSections []*pb.Section
	BuiltinLayouts  []*pb.Layout
}

// Service is CurationService.
type Service struct {
	pb.UnimplementedCurationServiceServer
	Config
}

// New makes the service; Run applies scheduled releases.
func New(c Config) *Service {
	s := &Service{Config: c}
	for _, sec := range c.BuiltinSections {
		sec.Etag = mustFingerprint(sec)
	}
	for _, l := range c.BuiltinLayouts {
		l.Etag = mustFingerprint(l)
	}
	return s
}

// mustFingerprint is for messages of this program's own.
func mustFingerprint(m proto.Message) string {
	tag, err := fingerprint(m)
	if err != nil {
		panic(err)
	}
	return tag
}

// mutation is what all writing requests share.
type mutation interface {
	proto.Message
	GetRequestId() string
}

func call(ctx context.Context, method string, req mutation) changes.Call {
	c := changes.Call{Actor: auth.CallerFrom(ctx).ID, Method: serviceName + method, RequestID: req.GetRequestId(), Args: req}
	if v, ok := req.(interface{ GetValidateOnly() bool }); ok {
		c.ValidateOnly = v.GetValidateOnly()
	}
	return c
}

// versioned is what the three nouns of this room share.
type versioned interface {
	proto.Message
	GetName() string
	GetEtag() string
	GetRevision() int64
}

// load reads a resource as of a write into m; ok is false when there is none.
func load(w *changes.Writer, name string, m proto.Message) (ok bool, err error) {
	found, err := w.Get(name)
	if err != nil {
		return false, err
	}
	r, ok := found[name]
	if !ok {
		return false, nil
	}
	return true, proto.Unmarshal(r.Body, m)
}

// builtin gives the built-in resource of a name.
func builtin[M versioned](all []M, name string) (m M, ok bool) {
	for _, b := range all {
		if b.GetName() == name {
			return b, true
		}
	}
	return m, false
}

// current reads a resource as of a write into blank, and gives the built-in one where none is
// stored; ok is false where there is neither.
func current[M versioned](w *changes.Writer, name string, blank M, ours []M) (m M, ok bool, err error) {
	if ok, err = load(w, name, blank); err != nil || ok {
		return blank, ok, err
	}
	if b, found := builtin(ours, name); found {
		return b, true, nil
	}
	return blank, false, nil
}

// withBuiltins gives the stored resources and the built-in ones they do not replace, by name.
func withBuiltins[M versioned](stored, ours []M) []M {
	all := make([]M, 0, len(stored)+len(ours))
	all = append(all, stored...)
	for _, b := range ours {
		if _, replaced := builtin(stored, b.GetName()); !replaced {
			all = append(all, b)
		}
	}
	sortByName(all)
	return all
}
