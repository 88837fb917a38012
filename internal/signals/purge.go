package signals

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"log/slog"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/sqldb"
)

// PurgeViewer replaces a viewer's hash by a random one in all stored events, those of an adult
// and those of a child whose day keys still live. It reads the whole ledger, which takes
// seconds per ten million events.
func (s *Service) PurgeViewer(ctx context.Context, req *pb.PurgeViewerRequest) (*pb.PurgeViewerResponse, error) {
	key := req.GetViewerKey()
	if n := len(key); n == 0 || n > maxKey {
		return nil, fault.Invalid("viewer_key", "must have 1 to %d bytes", maxKey)
	}
	caller, id := auth.CallerFrom(ctx).ID, req.GetRequestId()
	// What is remembered of the arguments is no use without the root secret.
	m := hmac.New(sha256.New, s.secret)
	m.Write([]byte(key))
	arguments := m.Sum(nil)
	if id != "" {
		before, events, found, err := purgeAnswer(ctx, s.db, caller, id)
		switch {
		case err != nil:
			return nil, err
		case found && !hmac.Equal(before, arguments):
			return nil, fault.New(fault.InvalidArgument, pb.ErrorReason_REQUEST_ID_REUSED, "request_id: was used with other arguments")
		case found:
			return &pb.PurgeViewerResponse{EventCount: events}, nil
		}
	}
	hashes, err := s.viewers.all(ctx, key)
	if err != nil {
		return nil, err
	}
	events, err := s.ledger.Purge(ctx, hashes, func(tx *sqldb.Tx, rows int64) error {
		if id == "" {
			return nil
		}
		return rememberPurge(tx, caller, id, arguments, rows)
	})
	if err != nil {
		if ctx.Err() != nil && fault.As(err) == nil {
			return nil, contextFault(ctx)
		}
		return nil, err
	}
	slog.InfoContext(ctx, "a viewer was purged", "caller", caller, "events", events)
	return &pb.PurgeViewerResponse{EventCount: events}, nil
}
