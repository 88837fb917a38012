package catalog

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/disclosure"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/masks"
	"github.com/aitheater/theater/internal/resource"
)

// maxBatch is how many films one message of ImportFilms may hold.
const maxBatch = 500

// ImportFilms implements pb.CatalogServiceServer: every message is one write; the stream
// ends once this process shows the last.
func (s *Service) ImportFilms(stream grpc.BidiStreamingServer[pb.ImportFilmsRequest, pb.ImportFilmsResponse]) error {
	ctx, last := stream.Context(), int64(0)
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		resp, revision, err := s.importBatch(ctx, req)
		if err != nil {
			return err
		}
		last = max(last, revision)
		for _, r := range resp.GetResults() {
			if r.GetStatus().GetCode() == int32(code.Code_PERMISSION_DENIED) {
				s.denied(ctx, serviceName+"ImportFilms", r.GetName(), r.GetStatus().GetMessage())
			}
		}
		if err := stream.Send(resp); err != nil {
			return err
		}
	}
	if last == 0 {
		return nil
	}
	// As with any write: the answer does not wait longer than a second for this replica.
	if err := s.log.Wait(ctx, last, time.Second); err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return nil
}

func (s *Service) importBatch(ctx context.Context, req *pb.ImportFilmsRequest) (*pb.ImportFilmsResponse, int64, error) {
	if len(req.GetFilms()) > maxBatch {
		return nil, 0, fault.Invalid("films", "must hold at most %d films, holds %d", maxBatch, len(req.GetFilms()))
	}
	mask, err := masks.Parse("update_mask", req.GetUpdateMask(), &pb.Film{})
	if err != nil {
		return nil, 0, err
	}
	caller := auth.CallerFrom(ctx)
	c := changes.Call{Actor: caller.ID, Method: serviceName + "ImportFilms", Args: req, ValidateOnly: req.GetValidateOnly()}
	return changes.WriteBatch(ctx, s.log, c, func(w *changes.Writer) (*pb.ImportFilmsResponse, error) {
		b := &batch{by: caller, w: w, req: req, mask: mask, genres: vocabulary{}, films: map[string]*pb.Film{}, puts: map[string]changes.Change{}}
		return b.run()
	})
}

// batch is one message of an import inside its write.
type batch struct {
	by     *auth.Caller
	w      *changes.Writer
	req    *pb.ImportFilmsRequest
	mask   *masks.Mask
	genres vocabulary
	// films are those that exist, as this write leaves them so far.
	films map[string]*pb.Film
	// puts are what there is to store, by name: a film sent twice is stored once.
	puts map[string]changes.Change
}

func (b *batch) run() (*pb.ImportFilmsResponse, error) {
	if err := b.load(); err != nil {
		return nil, err
	}
	resp := &pb.ImportFilmsResponse{Results: make([]*pb.ImportResult, 0, len(b.req.GetFilms()))}
	for _, sent := range b.req.GetFilms() {
		result, err := b.one(sent)
		if err != nil {
			if fault.As(err) == nil {
				return nil, err // ours, not the film's
			}
			result = &pb.ImportResult{Outcome: pb.ImportResult_REJECTED, Status: fault.Status(err)}
			if stored := b.films[sent.GetName()]; stored != nil {
				result.Published = shown(stored)
			}
		}
		result.Name = sent.GetName()
		resp.Results = append(resp.Results, result)
	}
	for _, name := range slices.Sorted(maps.Keys(b.puts)) {
		b.w.Put(b.puts[name])
	}
	return resp, nil
}

// load reads all films of the batch, and the genres they speak of.
func (b *batch) load() error {
	names := make([]string, 0, len(b.req.GetFilms()))
	films := slices.Clone(b.req.GetFilms())
	for _, sent := range b.req.GetFilms() {
		if resource.CheckName("", filmPrefix, sent.GetName()) == nil {
			names = append(names, sent.GetName())
		}
	}
	if len(names) > 0 {
		found, err := b.w.Get(names...)
		if err != nil {
			return err
		}
		for name, r := range found {
			f := &pb.Film{}
			if err := proto.Unmarshal(r.Body, f); err != nil {
				return err
			}
			b.films[name] = f
			films = append(films, f)
		}
	}
	return b.genres.learn(b.w, films...)
}

// one stores one film, or says as a fault why not.
func (b *batch) one(sent *pb.Film) (*pb.ImportResult, error) {
	name := sent.GetName()
	if err := resource.CheckName("film.name", filmPrefix, name); err != nil {
		return nil, err
	}
	old := b.films[name]
	var f *pb.Film
	if old == nil {
		f = newFilm(name, sent)
	} else {
		if err := resource.CheckEtag(name, sent.GetEtag(), old.GetEtag()); err != nil {
			return nil, err
		}
		f = b.merge(old, sent)
	}
	if err := checkFilm("film", f, b.known); err != nil {
		return nil, err
	}
	derive(f)
	if err := permit(b.by, old, f); err != nil {
		return nil, err
	}
	if old.GetFirstPublishTime() != nil { // a source may correct what nobody was shown
		if err := disclosure.Strengthens(old, f); err != nil {
			return nil, err
		}
	}
	held, err := b.publish(f)
	if err != nil {
		return nil, err
	}
	put, err := seal(b.w, old, f, "")
	if err != nil {
		return nil, err
	}
	if err := b.createGenres(f); err != nil {
		return nil, err
	}
	result := &pb.ImportResult{Outcome: pb.ImportResult_CREATED, Published: shown(f)}
	if held != nil {
		result.Status = fault.Status(held)
	}
	switch {
	case put == nil:
		result.Outcome = pb.ImportResult_UNCHANGED
		return result, nil
	case old != nil:
		result.Outcome = pb.ImportResult_UPDATED
	}
	if before, twice := b.puts[name]; twice {
		put.Withdraw = put.Withdraw || before.Withdraw
	}
	b.puts[name], b.films[name] = *put, f
	return result, nil
}

// merge is the stored film with what was sent. Reviews, labels and licences are a person's
// or a regulator's word: a source that does not know them does not clear them, unless the
// mask names them.
func (b *batch) merge(old, sent *pb.Film) *pb.Film {
	f, sent := proto.CloneOf(old), proto.CloneOf(sent)
	masks.ClearOutput(sent)
	b.mask.Apply(f, sent)
	if f.GetMinorsReview() == nil && !b.mask.Names("minors_review") {
		f.MinorsReview = old.GetMinorsReview()
	}
	if len(f.GetLicenses()) == 0 && !b.mask.Names("licenses") {
		f.Licenses = old.GetLicenses()
	}
	if label := old.GetProvenance().GetAigcLabel(); label != nil && len(f.GetProvenance().GetAigcLabel().GetRaw()) == 0 && !b.mask.Names("provenance.aigc_label") {
		provenance(f).AigcLabel = label
	}
	if c2pa := old.GetProvenance().GetC2Pa(); c2pa != nil && f.GetProvenance().GetC2Pa() == nil && !b.mask.Names("provenance.c2pa") {
		provenance(f).C2Pa = c2pa
	}
	return f
}

func provenance(f *pb.Film) *pb.Provenance {
	if f.Provenance == nil {
		f.Provenance = &pb.Provenance{}
	}
	return f.Provenance
}

func (b *batch) known(slug string) bool {
	return b.genres.knows(slug) || b.req.GetCreateGenres() && !b.by.Limited() // genres are for all markets
}

// publish makes a draft PUBLISHED if that was asked for and the rules are met; held says why
// a film that is stored stays hidden, nil when there is nothing to say. It never leaves
// TAKEN_DOWN, and a deleted film stays deleted. A film that is shown must go on meeting the
// rules, or err refuses the change.
func (b *batch) publish(f *pb.Film) (held, err error) {
	switch {
	case f.GetDeleteTime() != nil:
		return wrongState(f, "publishing", "films that are not deleted; UndeleteFilm brings it back"), nil
	case f.GetState() == pb.Film_TAKEN_DOWN && b.req.GetPublish():
		return wrongState(f, "publishing", "DRAFT and IN_REVIEW; ReinstateFilm brings it back"), nil
	case f.GetState() == pb.Film_TAKEN_DOWN, !shown(f) && !b.req.GetPublish():
		return nil, nil
	}
	if unmet := unpublishable(f, b.genres.children(f), b.w.Now); len(unmet) > 0 {
		if shown(f) {
			return nil, notPublishable(f, unmet)
		}
		return notPublishable(f, unmet), nil
	}
	enter(f, pb.Film_PUBLISHED, b.w.Now)
	return nil, nil
}

// createGenres adds the genres of a film that is stored to the vocabulary.
func (b *batch) createGenres(f *pb.Film) error {
	for _, slug := range f.GetGenres() {
		if b.genres.knows(slug) {
			continue
		}
		g := spelled(slug)
		put, err := sealGenre(b.w, nil, g)
		if err != nil {
			return err
		}
		b.genres[slug], b.puts[g.GetName()] = g, *put
	}
	return nil
}
