package rank

import (
	"context"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/masks"
	"github.com/aitheater/theater/internal/resource"
)

const service = "theater.v1.ChartService/"

// Charts gives the built-in charts, by name; the messages are shared and not to be changed.
func (s *Service) Charts() []*pb.Chart { return s.builtin }

// chart gives the definition in force under a name: the stored one, else the built-in one.
func (s *Service) chart(name string) (*pb.Chart, error) {
	if c := s.shelf.Current().Chart(name); c != nil {
		return c, nil
	}
	if c := s.builtinNamed(name); c != nil {
		return c, nil
	}
	return nil, fault.Missing(shown(name))
}

func (s *Service) builtinNamed(name string) *pb.Chart {
	for _, c := range s.builtin {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// shown is a name as an error may repeat it.
func shown(name string) string {
	if resource.CheckName("name", prefix, name) != nil {
		return "charts/…"
	}
	return name
}

// GetChart gives one definition.
func (s *Service) GetChart(_ context.Context, req *pb.GetChartRequest) (*pb.Chart, error) {
	return s.chart(req.GetName())
}

// CreateChart stores a definition. The name of a built-in chart is free until somebody stores
// a chart under it.
func (s *Service) CreateChart(ctx context.Context, req *pb.CreateChartRequest) (*pb.Chart, error) {
	if err := auth.CallerFrom(ctx).Everywhere(); err != nil {
		return nil, err
	}
	name, err := resource.NewName(prefix, "chart_id", req.GetChartId(), "chart.name", req.GetChart().GetName())
	if err != nil {
		return nil, err
	}
	c := &pb.Chart{}
	if req.GetChart() != nil {
		c = proto.CloneOf(req.GetChart())
	}
	masks.ClearOutput(c)
	c.Name, c.Etag = name, ""
	if err := validate(c, "chart"); err != nil {
		return nil, err
	}
	call := s.call(ctx, "CreateChart", req.GetRequestId(), req, req.GetValidateOnly())
	answer, _, err := changes.Write(ctx, s.log, call, func(w *changes.Writer) (*pb.Chart, error) {
		stored, err := w.Get(name)
		if err != nil {
			return nil, err
		}
		if _, taken := stored[name]; taken {
			return nil, fault.New(fault.AlreadyExists, pb.ErrorReason_ALREADY_EXISTS, "%s: already exists", name)
		}
		if len(s.shelf.Current().Charts()) >= maxCharts {
			return nil, fault.New(fault.ResourceExhausted, pb.ErrorReason_QUOTA_EXCEEDED, "there are %d charts already, which is as many as there may be", maxCharts)
		}
		return put(w, proto.CloneOf(c))
	})
	return answer, err
}

// UpdateChart changes a definition. Changing a built-in chart stores it.
func (s *Service) UpdateChart(ctx context.Context, req *pb.UpdateChartRequest) (*pb.Chart, error) {
	if err := auth.CallerFrom(ctx).Everywhere(); err != nil {
		return nil, err
	}
	name := req.GetChart().GetName()
	mask, err := masks.Parse("update_mask", req.GetUpdateMask(), req.GetChart())
	if err != nil {
		return nil, err
	}
	call := s.call(ctx, "UpdateChart", req.GetRequestId(), req, req.GetValidateOnly())
	answer, _, err := changes.Write(ctx, s.log, call, func(w *changes.Writer) (*pb.Chart, error) {
		stored, err := w.Get(name)
		if err != nil {
			return nil, err
		}
		c := &pb.Chart{}
		if r, ok := stored[name]; ok {
			if err := proto.Unmarshal(r.Body, c); err != nil {
				return nil, err
			}
		} else if b := s.builtinNamed(name); b != nil {
			c = proto.CloneOf(b)
		} else {
			return nil, fault.Missing(shown(name))
		}
		if err := resource.CheckEtag(name, req.GetChart().GetEtag(), c.Etag); err != nil {
			return nil, err
		}
		before := c.Etag
		mask.Apply(c, proto.CloneOf(req.GetChart()))
		if err := validate(c, "chart"); err != nil {
			return nil, err
		}
		if seal(c); c.Etag == before {
			return c, nil // nothing to change, nothing to store
		}
		return put(w, c)
	})
	return answer, err
}

// Restore makes an earlier body of a chart the current one, as a new write under today's
// rules and by a caller of ctx who may. etag is checked when it is set. The change is nil where
// nothing differs.
func (s *Service) Restore(ctx context.Context, w *changes.Writer, name string, body []byte, etag string) (*changes.Change, error) {
	if err := auth.CallerFrom(ctx).Everywhere(); err != nil {
		return nil, err
	}
	stored, err := w.Get(name)
	if err != nil {
		return nil, err
	}
	now, c := &pb.Chart{}, &pb.Chart{}
	if r, ok := stored[name]; !ok {
		return nil, fault.Missing(shown(name))
	} else if err := proto.Unmarshal(r.Body, now); err != nil {
		return nil, err
	}
	if err := resource.CheckEtag(name, etag, now.Etag); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(body, c); err != nil {
		return nil, err
	}
	if err := validate(c, "chart"); err != nil {
		return nil, err
	}
	c.Name, c.CreateTime = name, now.CreateTime
	if seal(c); c.Etag == now.Etag {
		return nil, nil
	}
	return changed(w, c)
}

// put stores a definition as this write leaves it.
func put(w *changes.Writer, c *pb.Chart) (*pb.Chart, error) {
	change, err := changed(w, c)
	if err == nil {
		w.Put(*change)
	}
	return c, err
}

// changed is the change that stores a definition; it sets what the server sets.
func changed(w *changes.Writer, c *pb.Chart) (*changes.Change, error) {
	seal(c)
	c.Revision, c.UpdateTime = w.Revision, timestamppb.New(w.Now)
	if c.CreateTime == nil {
		c.CreateTime = c.UpdateTime
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	return &changes.Change{Name: c.Name, Body: body}, err
}

func (s *Service) call(ctx context.Context, method, requestID string, args proto.Message, validateOnly bool) changes.Call {
	return changes.Call{Actor: auth.CallerFrom(ctx).ID, Method: service + method, RequestID: requestID, Args: args, ValidateOnly: validateOnly}
}

// ListCharts gives all definitions in force, by name.
func (s *Service) ListCharts(_ context.Context, req *pb.ListChartsRequest) (*pb.ListChartsResponse, error) {
	charts := inForce(s.shelf.Current(), s.builtin)
	page, next, _, err := resource.Page(s.keys, service+"ListCharts", req, charts, (*pb.Chart).GetName)
	return &pb.ListChartsResponse{Charts: page, NextPageToken: next}, err
}
