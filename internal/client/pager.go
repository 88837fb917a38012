package client

import (
	"context"
	"iter"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// restarts is how often a pager begins anew before it gives up: a reader who takes so long
// will not finish.
const restarts = 3

// Ranked gives the films of a chart, best first, page after page. All come from one
// generation. If that is gone before the end, because the reader took more than 15 minutes,
// the pager goes on in the newest one and leaves out the films it gave already; their ranks
// are then of another generation, which Generation of the last page tells apart.
//
// An error ends the sequence.
func Ranked(ctx context.Context, c pb.ListingServiceClient, req *pb.ListRankedFilmsRequest) iter.Seq2[*pb.RankedFilm, error] {
	return func(yield func(*pb.RankedFilm, error) bool) {
		given := map[string]bool{}
		for page, err := range Pages(ctx, c, req) {
			if err != nil {
				yield(nil, err)
				return
			}
			for _, film := range page.GetFilms() {
				name := film.GetCard().GetName()
				if given[name] {
					continue
				}
				given[name] = true
				if !yield(film, nil) {
					return
				}
			}
		}
	}
}

// Pages gives the pages of a chart. When the generation is gone, the next page is the first
// of the newest one: compare the pages' generation numbers.
func Pages(ctx context.Context, c pb.ListingServiceClient, req *pb.ListRankedFilmsRequest) iter.Seq2[*pb.ListRankedFilmsResponse, error] {
	return func(yield func(*pb.ListRankedFilmsResponse, error) bool) {
		next := proto.CloneOf(req)
		left := restarts
		for {
			page, err := c.ListRankedFilms(ctx, next)
			if Reason(err) == pb.ErrorReason_SNAPSHOT_EXPIRED && left > 0 {
				left--
				next.PageToken = ""
				continue
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(page, nil) || page.GetNextPageToken() == "" {
				return
			}
			next.PageToken = page.GetNextPageToken()
		}
	}
}

// Reason gives the reason of an error of the service, unspecified for other errors and nil.
func Reason(err error) pb.ErrorReason {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == "theater" {
			return pb.ErrorReason(pb.ErrorReason_value[info.GetReason()])
		}
	}
	return pb.ErrorReason_ERROR_REASON_UNSPECIFIED
}
