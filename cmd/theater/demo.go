package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/app"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/demo"
)

// runDemo starts a service with everything embedded and loads the sample season by its own
// doors. It says that it is ready when there is something to see.
func runDemo(ctx context.Context, std console, c *config, _ []string) (err error) {
	dir := c.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "theater-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	settings := c.service()
	settings.Store, settings.Redis = "sqlite:"+filepath.Join(dir, "theater.db"), app.EmbeddedRedis
	settings.Auth, settings.SecretFile, settings.Reflection = "open", "", true
	settings.OIDC, settings.TLS = auth.OIDCConfig{}, nil // for a server, in the same shell
	settings.Pages = map[string]http.Handler{"/art/": demo.Art(), "/{$}": demo.Page()}

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	loaded := make(chan struct{})
	started := false
	err = host(ctx, settings, func(addrs app.Addrs) {
		started = true
		go func() {
			defer close(loaded)
			if err := showtime(ctx, std, dir, addrs); err != nil {
				stop(err)
			}
		}()
	})
	if started {
		<-loaded
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return errors.Join(cause, err)
	}
	return err
}

// showtime fills the service and says what to try.
func showtime(ctx context.Context, std console, dir string, addrs app.Addrs) error {
	conn, err := grpc.NewClient(addrs.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprintln(std.err, "loading a season of films and a day of audience …")
	done, err := demo.Load(ctx, conn, time.Now())
	if err != nil {
		return fmt.Errorf("loading the season: %w", err)
	}
	if err := charted(ctx, pb.NewListingServiceClient(conn)); err != nil {
		return err
	}
	fmt.Fprintf(std.err, "%d films (%d features), %d events, in %s\n", done.Films, done.Features, done.CountedEvents, dir)
	suggest(std.err, addrs)
	announce(std.out, addrs)
	return nil
}

// charted waits until the ranker has counted the audience.
func charted(ctx context.Context, listing pb.ListingServiceClient) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		page, err := listing.ListRankedFilms(ctx, &pb.ListRankedFilmsRequest{
			Chart: "charts/hot", Viewer: &pb.Viewer{Market: "CN", Audience: pb.Viewer_ADULT}, PageSize: 20,
		})
		if err == nil && len(page.GetFilms()) == 20 {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("the hot chart did not fill within a minute"), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// suggestions are what to try, each a line that works when it is pasted.
const suggestions = `
The theatre is open. Everyone who can reach it may do everything; that is for a demo only.

In a browser, the home page as each kind of viewer gets it:
  http://HTTP/

With curl, the hot chart for an adult in China, and for a child of eight in Singapore:
  curl -s http://HTTP/theater.v1.ListingService/ListRankedFilms -H 'Content-Type: application/json' -d '{"chart":"charts/hot","viewer":{"market":"CN","languages":["zh","en"],"audience":"ADULT"},"pageSize":3}'
  curl -s http://HTTP/theater.v1.ListingService/ListRankedFilms -H 'Content-Type: application/json' -d '{"chart":"charts/hot","viewer":{"market":"SG","languages":["en"],"audience":"KIDS","ageBand":"AGE_8"},"pageSize":3}'

The home page:
  curl -s http://HTTP/theater.v1.ListingService/GetHome -H 'Content-Type: application/json' -d '{"viewer":{"market":"US","languages":["en"],"audience":"ADULT"},"cardsPerSection":3}'

With grpcurl (go install github.com/fullstorydev/grpcurl/cmd/grpcurl@latest), the catalogue, and a take-down to watch:
  grpcurl -plaintext -d '{"filter":"form = FEATURE AND genres:\"comedy\"","page_size":3}' GRPC theater.v1.CatalogService/ListFilms
  grpcurl -plaintext -d '{"name":"films/alaya","reason":"to see it go"}' GRPC theater.v1.CatalogService/TakeDownFilm

Metrics: http://METRICS/metrics     Ctrl-C ends it.

`

func suggest(w io.Writer, addrs app.Addrs) {
	text := strings.NewReplacer("METRICS", addrs.Metrics, "GRPC", addrs.GRPC, "HTTP", addrs.HTTP).Replace(suggestions)
	fmt.Fprint(w, text)
}
