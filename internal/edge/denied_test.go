package edge_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/edge"
	"github.com/aitheater/theater/internal/fault"
)

// denials are what a house was told of.
type denials struct {
	mu   sync.Mutex
	told []edge.Denied
}

func (d *denials) tell(_ context.Context, a edge.Denied) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.told = append(d.told, a)
	return nil
}

const createFilm = "theater.v1.CatalogService/CreateFilm"

func TestDeniedAttemptsAreTold(t *testing.T) {
	static, err := auth.ParseStatic([]byte(`{
		"0123456789abcdef": {"id": "web", "roles": ["VIEWER"]},
		"fedcba9876543210": {"id": "london", "roles": ["EDITOR"], "markets": ["GB"]}}`))
	require.NoError(t, err)
	var d denials
	h := open(t, func(c *edge.Config) { c.Auth, c.Denied = static, d.tell })
	const why = "the film is for other markets too"
	h.create = func(context.Context, *pb.CreateFilmRequest) (*pb.Film, error) {
		return nil, fault.New(fault.PermissionDenied, pb.ErrorReason_PERMISSION_DENIED, why)
	}
	client := pb.NewCatalogServiceClient(h.dial(t))
	create := func(key, id string) {
		t.Helper()
		_, err := client.CreateFilm(t.Context(), &pb.CreateFilmRequest{FilmId: id, RequestId: "7a0c8a3e-2f5e-4f0c-9a51-3d1a5c3d7f01"}, grpc.PerRPCCredentials(token(key)))
		code, _ := reason(t, err)
		assert.Equal(t, codes.PermissionDenied, code)
	}
	for range 5 {
		create("0123456789abcdef", "a") // refused before the request is looked at
		create("fedcba9876543210", "a")
		create("fedcba9876543210", "b")
	}
	_, err = client.ListFilms(t.Context(), &pb.ListFilmsRequest{}, grpc.PerRPCCredentials(token("0123456789abcdef")))
	assert.Error(t, err, "a read is no attempt to change something")
	_, err = client.CreateFilm(t.Context(), &pb.CreateFilmRequest{})
	assert.Equal(t, codes.Unauthenticated, status.Code(err), "nobody has no name to tell")
	require.NoError(t, h.stop())
	assert.Equal(t, []edge.Denied{
		{Caller: "web", Method: createFilm, Why: "your roles do not allow this method"},
		{Caller: "london", Method: createFilm, Resource: "films/a", Why: why},
		{Caller: "london", Method: createFilm, Resource: "films/b", Why: why},
	}, d.told)
	assert.NotContains(t, h.log.String(), "0123456789abcdef")
}

// TestP14DeniedAttemptsDoNotFillTheAudit has one caller try without end, and another once.
func TestP14DeniedAttemptsDoNotFillTheAudit(t *testing.T) {
	var d denials
	h := open(t, func(c *edge.Config) { c.Denied = d.tell })
	as := func(id string) context.Context {
		return auth.WithCaller(t.Context(), &auth.Caller{ID: id, Roles: 1 << pb.Access_EDITOR})
	}
	for i := range 5000 {
		h.server.NoteDenied(as("mallory"), createFilm, fmt.Sprintf("films/%d", i), "no")
	}
	h.server.NoteDenied(as("london"), createFilm, "films/"+strings.Repeat("é", 1<<20), "no")
	require.NoError(t, h.stop())
	by := map[string]int{}
	marks := 0
	for _, a := range d.told {
		by[a.Caller]++
		assert.Less(t, len(a.Resource), 300)
		if a.Resource == "" {
			marks++
			assert.Contains(t, a.Why, "not recorded one by one")
		}
	}
	assert.InDelta(t, 500, by["mallory"], 20)
	assert.Equal(t, 1, by["london"], "nobody's attempts hide another's")
	assert.Equal(t, 1, marks, "the audit says that it is not complete")
}

func TestSubjectOfARequest(t *testing.T) {
	for want, request := range map[string]any{
		"films/a":    &pb.PublishFilmRequest{Name: "films/a", RequestId: "x"},
		"films/b":    &pb.UpdateFilmRequest{Film: &pb.Film{Name: "films/b"}},
		"films/c":    &pb.CreateFilmRequest{FilmId: "c"},
		"charts/d":   &pb.UpdateChartRequest{Chart: &pb.Chart{Name: "charts/d"}},
		"genres/e":   &pb.CreateGenreRequest{Genre: &pb.Genre{Name: "genres/e"}},
		"layouts/f":  &pb.UpdateLayoutRequest{Layout: &pb.Layout{Name: "layouts/f"}},
		"releases/g": &pb.CreateReleaseRequest{ReleaseId: "g"},
		"sections/h": &pb.RollbackRequest{Name: "sections/h", RequestId: "x"},
		"":           &pb.PurgeViewerRequest{ViewerKey: "secret", RequestId: "x"},
	} {
		assert.Equal(t, want, edge.Subject(request))
	}
	for _, request := range []any{nil, proto.Message(nil), (*pb.PublishFilmRequest)(nil), &pb.ImportFilmsRequest{}} {
		assert.Empty(t, edge.Subject(request))
	}
}
