package catalog

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/shelf"
)

const (
	// heartbeatEvery is how often a watcher hears something, changes or not.
	heartbeatEvery = 10 * time.Second
	// slowAfter is how long a reader may take nothing before its stream is cut.
	slowAfter = 15 * time.Second
	// catchUpWithin is how long a watcher waits for this replica to reach its token.
	catchUpWithin = 2 * time.Second
	// rowsAtOnce is how many changes are read from history at a time.
	rowsAtOnce = 256
	whole      = math.MaxInt64
)

// bookmark is where a watcher goes on; it travels sealed inside the resume token.
type bookmark struct {
	// Revision and Index are the last change sent; Index whole = all of the revision.
	Revision int64 `json:"r"`
	Index    int64 `json:"i,omitempty"`
	// Filling says that the watcher is still being sent everything, as of Revision, by name,
	// and After the last name sent.
	Filling bool   `json:"f,omitempty"`
	After   string `json:"a,omitempty"`
}

func (s *Service) sealBookmark(at bookmark, filter string) (string, error) {
	plain, err := json.Marshal(at)
	if err != nil {
		return "", err
	}
	return s.keys.Seal(serviceName+"WatchFilms", plain, []byte(filter)), nil
}

func (s *Service) openBookmark(token, filter string) (at bookmark, err error) {
	plain, err := s.keys.Open(serviceName+"WatchFilms", token, []byte(filter))
	if err == nil {
		err = json.Unmarshal(plain, &at)
	}
	if err != nil {
		e := fault.Invalid("resume_token", "is altered, of another server, or of another filter")
		e.Reason = pb.ErrorReason_INVALID_PAGE_TOKEN
		return at, e
	}
	return at, nil
}

// ExportFilms implements pb.CatalogServiceServer: the films of one revision, by name.
func (s *Service) ExportFilms(req *pb.ExportFilmsRequest, stream grpc.ServerStreamingServer[pb.ExportFilmsResponse]) error {
	ctx := stream.Context()
	filter, err := shelf.CompileFilter(req.GetFilter())
	if err != nil {
		return err
	}
	now := s.shelf.Current()
	out := newOutlet(stream.Send, s.slowAfter)
	return out.finish(ctx, s.export(ctx, req, filter, now, out))
}

func (s *Service) export(ctx context.Context, req *pb.ExportFilmsRequest, filter *shelf.Filter, now *shelf.Snapshot, out *outlet[pb.ExportFilmsResponse]) error {
	for _, slot := range now.Select(filter, nil, s.clock.Now(), req.GetShowDeleted()) {
		if err := out.put(ctx, &pb.ExportFilmsResponse{Film: film(now, now.At(slot), pb.Film_FULL)}); err != nil {
			return err
		}
	}
	token, err := s.sealBookmark(bookmark{Revision: now.Revision(), Index: whole}, req.GetFilter())
	if err != nil {
		return err
	}
	return out.put(ctx, &pb.ExportFilmsResponse{ResumeToken: token})
}

// WatchFilms implements pb.CatalogServiceServer. A watcher is sent every film as of one
// revision, and then each change as it was written, in the order of the revisions; so what
// it is sent does not depend on the replica, and any message's token goes on exactly behind
// it. A filter that asks for times or counts is judged when a film changes.
func (s *Service) WatchFilms(req *pb.WatchFilmsRequest, stream grpc.ServerStreamingServer[pb.WatchFilmsResponse]) error {
	ctx := stream.Context()
	filter, err := shelf.CompileFilter(req.GetFilter())
	if err != nil {
		return err
	}
	w := &watcher{Service: s, source: req.GetFilter(), filter: filter, at: bookmark{Revision: s.shelf.Current().Revision(), Index: whole, Filling: true}}
	if req.GetResumeToken() != "" {
		if w.at, err = s.openBookmark(req.GetResumeToken(), req.GetFilter()); err != nil {
			return err
		}
		if err := s.log.Wait(ctx, w.at.Revision, catchUpWithin); err != nil {
			return err
		}
	}
	w.out = newOutlet(stream.Send, s.slowAfter)
	err = w.run(ctx)
	if ctx.Err() != nil { // perhaps because this server stops: say once more how far it came
		if last, sealErr := w.message(nil, pb.WatchFilmsResponse_CHANGE_UNSPECIFIED); sealErr == nil {
			w.out.offer(last)
		}
	}
	return w.out.finish(ctx, err)
}

// watcher is one WatchFilms stream.
type watcher struct {
	*Service
	source string
	filter *shelf.Filter
	out    *outlet[pb.WatchFilmsResponse]
	at     bookmark
	spoke  time.Time
}

func (w *watcher) run(ctx context.Context) error {
	if w.at.Filling {
		if err := w.everything(ctx); err != nil {
			return err
		}
	}
	for {
		more, err := w.changes(ctx)
		if err != nil {
			return err
		}
		if time.Since(w.spoke) >= w.heartbeat {
			if err := w.send(ctx, nil, pb.WatchFilmsResponse_CHANGE_UNSPECIFIED); err != nil {
				return err
			}
		}
		if more {
			continue
		}
		// Nothing new within the heartbeat is no error.
		if err := w.log.Wait(ctx, w.at.Revision+1, w.heartbeat-time.Since(w.spoke)); err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// send tells the client of a change, or of nothing but how far it has been told.
func (w *watcher) send(ctx context.Context, f *pb.Film, change pb.WatchFilmsResponse_Change) error {
	m, err := w.message(f, change)
	if err != nil {
		return err
	}
	w.spoke = time.Now()
	return w.out.put(ctx, m)
}

func (w *watcher) message(f *pb.Film, change pb.WatchFilmsResponse_Change) (*pb.WatchFilmsResponse, error) {
	token, err := w.sealBookmark(w.at, w.source)
	return &pb.WatchFilmsResponse{Film: f, Change: change, ResumeToken: token}, err
}

// everything sends the films as of the bookmark's revision that come after its name. What
// changed since then is looked up in history.
func (w *watcher) everything(ctx context.Context) error {
	if err := w.checkHistory(ctx); err != nil {
		return err
	}
	now := w.shelf.Current()
	for _, slot := range now.Select(nil, nil, w.clock.Now(), true) {
		e := now.At(slot)
		if e.Name <= w.at.After {
			continue
		}
		row := changes.HistoryRow{Position: changes.Position{Revision: e.Revision}, Name: e.Name, Body: e.Body}
		if e.Revision > w.at.Revision {
			then, ok, err := w.log.At(ctx, e.Name, w.at.Revision)
			if err != nil {
				return err
			}
			if !ok {
				continue // it did not exist yet
			}
			row = then
		}
		matches, err := w.matches(row, w.clock.Now())
		if err != nil {
			return err
		}
		w.at.After = e.Name
		if !matches {
			continue
		}
		if err := w.upserted(ctx, row); err != nil {
			return err
		}
	}
	w.at = bookmark{Revision: w.at.Revision, Index: whole}
	return w.send(ctx, nil, pb.WatchFilmsResponse_CHANGE_UNSPECIFIED)
}

// changes sends what was written since the bookmark, some at a time; more says that there is
// more.
func (w *watcher) changes(ctx context.Context) (more bool, err error) {
	applied := w.log.Applied()
	if applied <= w.at.Revision && w.at.Index == whole {
		return false, nil
	}
	rows, trimmed, err := w.log.Changes(ctx, changes.Position{Revision: w.at.Revision, Index: w.at.Index}, filmPrefix, rowsAtOnce)
	if err != nil {
		return false, err
	}
	if err := w.expired(trimmed); err != nil {
		return false, err
	}
	for _, row := range rows {
		w.at = bookmark{Revision: row.Revision, Index: row.Index}
		if err := w.change(ctx, row); err != nil {
			return false, err
		}
	}
	if len(rows) == rowsAtOnce {
		return true, nil
	}
	w.at = bookmark{Revision: max(applied, w.at.Revision), Index: whole}
	return false, nil
}

// change sends one change, if the filter lets it through or did so with the state before.
func (w *watcher) change(ctx context.Context, row changes.HistoryRow) error {
	matches, err := w.matches(row, row.Time)
	if err != nil {
		return err
	}
	if matches {
		return w.upserted(ctx, row)
	}
	was, err := w.matched(ctx, row)
	if err != nil || !was {
		return err
	}
	return w.send(ctx, &pb.Film{Name: row.Name}, pb.WatchFilmsResponse_REMOVED)
}

// matched reports whether the watcher knows the film from before a change: whether the state
// before passed the filter, at its own time or at that of the change.
func (w *watcher) matched(ctx context.Context, row changes.HistoryRow) (bool, error) {
	before, ok, err := w.log.At(ctx, row.Name, row.Revision-1)
	if err != nil {
		return false, err
	}
	if !ok { // new, or so old that its history is gone: then it may have been known
		f := &pb.Film{}
		if err := proto.Unmarshal(row.Body, f); err != nil {
			return false, err
		}
		return !proto.Equal(f.GetCreateTime(), f.GetUpdateTime()), nil
	}
	for _, at := range []time.Time{before.Time, row.Time} {
		if matches, err := w.matches(before, at); matches || err != nil {
			return matches, err
		}
	}
	return false, nil
}

// matches reports whether a film passes the filter in the state some change left it in.
func (w *watcher) matches(row changes.HistoryRow, at time.Time) (bool, error) {
	if row.Body == nil {
		return false, nil
	}
	now := w.shelf.Current()
	e := now.Film(row.Name)
	if e == nil || e.Revision != row.Revision {
		then, err := shelf.Of(row.Revision, []changes.Resource{{Name: row.Name, Revision: row.Revision, Body: row.Body}})
		if err != nil {
			return false, err
		}
		now, e = then, then.Film(row.Name)
	}
	return e != nil && !e.Deleted && w.filter.Match(now, e, at), nil
}

func (w *watcher) upserted(ctx context.Context, row changes.HistoryRow) error {
	f := &pb.Film{}
	if err := proto.Unmarshal(row.Body, f); err != nil {
		return err
	}
	return w.send(ctx, w.withStats(f), pb.WatchFilmsResponse_UPSERTED)
}

// checkHistory refuses a bookmark from which history does not lead on.
func (w *watcher) checkHistory(ctx context.Context) error {
	_, trimmed, err := w.log.Changes(ctx, changes.Position{Revision: w.at.Revision, Index: whole}, filmPrefix, 1)
	if err != nil {
		return err
	}
	return w.expired(trimmed)
}

func (w *watcher) expired(trimmed int64) error {
	if w.at.Revision > trimmed || w.at.Revision == trimmed && w.at.Index == whole {
		return nil
	}
	return fault.New(fault.FailedPrecondition, pb.ErrorReason_RESUME_EXPIRED,
		"resume_token: is older than the history kept; start again without a token")
}
