package curation

import (
	"context"
	"fmt"
	"math"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/resource"
)

// prefixes of the resources that have revisions.
var versionedPrefixes = []string{"films/", "genres/", "charts/", sectionPrefix, layoutPrefix, releasePrefix}

func checkVersioned(name string) error {
	for _, prefix := range versionedPrefixes {
		if strings.HasPrefix(name, prefix) {
			return resource.CheckName("name", prefix, name)
		}
	}
	return fault.Invalid("name", "must be the name of a film, genre, chart, section, layout or release, such as films/alaya")
}

// ListRevisions implements pb.CurationServiceServer.
func (s *Service) ListRevisions(ctx context.Context, req *pb.ListRevisionsRequest) (*pb.ListRevisionsResponse, error) {
	if err := checkVersioned(req.GetName()); err != nil {
		return nil, err
	}
	size, at, err := resource.OpenPage(s.Keys, serviceName+"ListRevisions", req)
	if err != nil {
		return nil, err
	}
	rows, err := s.Log.Revisions(ctx, req.GetName(), int64(at.Offset), size+1)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 && at.Offset == 0 {
		return nil, fault.Missing(req.GetName())
	}
	out := &pb.ListRevisionsResponse{}
	if len(rows) > size {
		rows = rows[:size]
		if out.NextPageToken, err = resource.SealPage(s.Keys, serviceName+"ListRevisions", req, resource.Position{Offset: int(rows[size-1].Revision)}); err != nil {
			return nil, err
		}
	}
	for _, row := range rows {
		r, err := revisionOf(row)
		if err != nil {
			return nil, err
		}
		out.Revisions = append(out.Revisions, r)
	}
	return out, nil
}

// revisionOf decodes a row of history.
func revisionOf(row changes.HistoryRow) (*pb.ResourceRevision, error) {
	r := &pb.ResourceRevision{Name: row.Name, Revision: row.Revision, Time: timestamppb.New(row.Time), Actor: row.Actor, Method: row.Method}
	if row.Body == nil {
		return r, nil
	}
	var m proto.Message
	switch kind, _, _ := strings.Cut(row.Name, "/"); kind {
	case "films":
		f := &pb.Film{}
		m, r.Resource = f, &pb.ResourceRevision_Film{Film: f}
	case "genres":
		g := &pb.Genre{}
		m, r.Resource = g, &pb.ResourceRevision_Genre{Genre: g}
	case "charts":
		c := &pb.Chart{}
		m, r.Resource = c, &pb.ResourceRevision_Chart{Chart: c}
	case "sections":
		sec := &pb.Section{}
		m, r.Resource = sec, &pb.ResourceRevision_Section{Section: sec}
	case "layouts":
		l := &pb.Layout{}
		m, r.Resource = l, &pb.ResourceRevision_Layout{Layout: l}
	default:
		rel := &pb.Release{}
		m, r.Resource = rel, &pb.ResourceRevision_Release{Release: rel}
	}
	return r, proto.Unmarshal(row.Body, m)
}

// Rollback implements pb.CurationServiceServer.
func (s *Service) Rollback(ctx context.Context, req *pb.RollbackRequest) (*pb.ResourceRevision, error) {
	name := req.GetName()
	if err := checkVersioned(name); err != nil {
		return nil, err
	}
	if strings.HasPrefix(name, releasePrefix) {
		return nil, fault.Invalid("name", "a release is undone by RevertRelease")
	}
	row, ok, err := s.Log.At(ctx, name, req.GetRevision())
	if err != nil {
		return nil, err
	}
	if !ok || row.Revision != req.GetRevision() {
		return nil, fault.New(fault.NotFound, pb.ErrorReason_RESOURCE_NOT_FOUND, "%s has no revision %d; ListRevisions shows those it has", name, req.GetRevision())
	}
	caller := auth.CallerFrom(ctx)
	out, _, err := changes.Write(ctx, s.Log, call(ctx, "Rollback", req), func(w *changes.Writer) (*pb.ResourceRevision, error) {
		put, err := s.rollback(ctx, w, name, row.Body, req.GetEtag())
		if err != nil {
			return nil, err
		}
		if put == nil {
			return revisionOf(row)
		}
		put.Note = fmt.Sprintf("rolls back to revision %d", req.GetRevision())
		w.Put(*put)
		return revisionOf(changes.HistoryRow{Position: changes.Position{Revision: w.Revision}, Name: name, Body: put.Body, Time: w.Now, Actor: caller.ID, Method: serviceName + "Rollback"})
	})
	return out, err
}

func (s *Service) rollback(ctx context.Context, w *changes.Writer, name string, body []byte, etag string) (*changes.Change, error) {
	switch kind, _, _ := strings.Cut(name, "/"); kind {
	case "films", "genres":
		return s.Catalog.Restore(ctx, w, name, body, etag)
	case "charts":
		return s.Charts.Restore(ctx, w, name, body, etag)
	case "sections":
		return s.rollbackSection(ctx, w, name, body, etag)
	default:
		return s.rollbackLayout(ctx, w, name, body, etag)
	}
}

func (s *Service) rollbackSection(ctx context.Context, w *changes.Writer, name string, body []byte, etag string) (*changes.Change, error) {
	old, earlier := &pb.Section{}, &pb.Section{}
	if _, err := load(w, name, old); err != nil {
		return nil, err
	}
	if err := resource.CheckEtag(name, etag, old.GetEtag()); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(body, earlier); err != nil {
		return nil, err
	}
	if old.GetRevision() > 0 {
		if err := mayTouch(auth.CallerFrom(ctx), old); err != nil {
			return nil, err
		}
	}
	if err := s.fitSection(ctx, "section", earlier); err != nil {
		return nil, err
	}
	return stamp(w, old, earlier, "")
}

func (s *Service) rollbackLayout(ctx context.Context, w *changes.Writer, name string, body []byte, etag string) (*changes.Change, error) {
	if len(auth.CallerFrom(ctx).Markets) > 0 {
		return nil, denied(name, "a layout is for every market")
	}
	old, earlier := &pb.Layout{}, &pb.Layout{}
	if _, err := load(w, name, old); err != nil {
		return nil, err
	}
	if err := resource.CheckEtag(name, etag, old.GetEtag()); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(body, earlier); err != nil {
		return nil, err
	}
	return stamp(w, old, earlier, "")
}

// scanned bounds how many entries one page of a filtered audit looks at.
const scanned = 20000

// ListAuditEntries implements pb.CurationServiceServer.
func (s *Service) ListAuditEntries(ctx context.Context, req *pb.ListAuditEntriesRequest) (*pb.ListAuditEntriesResponse, error) {
	match, err := compileAuditFilter(req.GetFilter())
	if err != nil {
		return nil, err
	}
	const method = serviceName + "ListAuditEntries"
	size, at, err := resource.OpenPage(s.Keys, method, req)
	if err != nil {
		return nil, err
	}
	before := int64(at.Offset)
	if before == 0 {
		before = math.MaxInt64
	}
	out, looked := &pb.ListAuditEntriesResponse{}, 0
	for looked < scanned {
		const chunk = 500
		entries, err := s.Log.AuditBefore(ctx, before, chunk)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if match(e) {
				if len(out.AuditEntries) == size {
					out.NextPageToken, err = resource.SealPage(s.Keys, method, req, resource.Position{Offset: int(before)})
					return out, err
				}
				out.AuditEntries = append(out.AuditEntries, e)
			}
			before = e.GetSequence()
		}
		if looked += len(entries); len(entries) < chunk {
			return out, nil
		}
	}
	out.NextPageToken, err = resource.SealPage(s.Keys, method, req, resource.Position{Offset: int(before)})
	return out, err
}

// ExportAuditEntries implements pb.CurationServiceServer.
func (s *Service) ExportAuditEntries(req *pb.ExportAuditEntriesRequest, stream grpc.ServerStreamingServer[pb.ExportAuditEntriesResponse]) error {
	after := req.GetAfterSequence()
	for {
		const chunk = 500
		entries, err := s.Log.AuditAfter(stream.Context(), after, chunk)
		if err != nil || len(entries) == 0 {
			return err
		}
		if err := stream.Send(&pb.ExportAuditEntriesResponse{AuditEntries: entries}); err != nil {
			return err
		}
		after = entries[len(entries)-1].GetSequence()
	}
}

// ListReplicas implements pb.CurationServiceServer.
func (s *Service) ListReplicas(ctx context.Context, _ *pb.ListReplicasRequest) (*pb.ListReplicasResponse, error) {
	replicas, err := s.Log.Replicas(ctx)
	return &pb.ListReplicasResponse{Replicas: replicas}, err
}
