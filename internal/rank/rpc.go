package rank

import (
	"bytes"
	"context"
	"crypto/sha256"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/masks"
)

var chartID = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

const (
	service  = "theater.v1.ChartService/"
	pageSize = 20
	maxPage  = 100
)

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
	if !strings.HasPrefix(name, prefix) || !chartID.MatchString(name[len(prefix):]) {
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
	id := req.GetChartId()
	if !chartID.MatchString(id) {
		return nil, fault.Invalid("chart_id", "must begin with a lower-case letter, have up to 63 of a-z, 0-9 and \"-\", and not end with \"-\"")
	}
	name := prefix + id
	if n := req.GetChart().GetName(); n != "" && n != name {
		return nil, fault.Invalid("chart.name", "must be empty or %q", name)
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
		if etag := req.GetChart().GetEtag(); etag != "" && etag != c.Etag {
			return nil, fault.EtagMismatch(name, c.Etag)
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

// put stores a definition as this write leaves it.
func put(w *changes.Writer, c *pb.Chart) (*pb.Chart, error) {
	seal(c)
	c.Revision, c.UpdateTime = w.Revision, timestamppb.New(w.Now)
	if c.CreateTime == nil {
		c.CreateTime = c.UpdateTime
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return nil, err
	}
	w.Put(changes.Change{Name: c.Name, Body: body})
	return c, nil
}

func (s *Service) call(ctx context.Context, method, requestID string, args proto.Message, validateOnly bool) changes.Call {
	return changes.Call{Actor: auth.CallerFrom(ctx).ID, Method: service + method, RequestID: requestID, Args: args, ValidateOnly: validateOnly}
}

// ListCharts gives all definitions in force, by name.
func (s *Service) ListCharts(_ context.Context, req *pb.ListChartsRequest) (*pb.ListChartsResponse, error) {
	size := int(req.GetPageSize())
	switch {
	case size < 0:
		return nil, fault.Invalid("page_size", "must not be negative")
	case size == 0:
		size = pageSize
	}
	size = min(size, maxPage)
	// There is nothing but the page in the request, so that the token is bound to the method
	// alone.
	bind := sha256.Sum256(nil)
	var after []byte
	if token := req.GetPageToken(); token != "" {
		var err error
		if after, err = s.keys.Open(service+"ListCharts", token, bind[:]); err != nil {
			return nil, err
		}
	}
	charts := inForce(s.shelf.Current(), s.builtin)
	from, found := slices.BinarySearchFunc(charts, after, func(c *pb.Chart, name []byte) int { return bytes.Compare([]byte(c.Name), name) })
	if found {
		from++
	}
	to := min(from+size, len(charts))
	answer := &pb.ListChartsResponse{Charts: charts[from:to]}
	if to < len(charts) {
		answer.NextPageToken = s.keys.Seal(service+"ListCharts", []byte(charts[to-1].Name), bind[:])
	}
	return answer, nil
}
