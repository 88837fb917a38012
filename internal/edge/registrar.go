package edge

import (
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/aitheater/theater/internal/auth"
)

// ours is the package whose methods must say who may call them.
const ours = "theater."

// registrar puts services behind the door and on both ports.
type registrar struct {
	server *Server
	web    *web
	// streaming holds the names of streaming methods.
	streaming map[string]bool
	// requests are the messages the validator is made ready for.
	requests []proto.Message
	err      error
}

// RegisterService implements grpc.ServiceRegistrar. What it cannot do is told by err, as the
// interface has no way to say it.
func (r *registrar) RegisterService(desc *grpc.ServiceDesc, impl any) {
	if r.err == nil {
		r.err = r.register(desc, impl)
	}
}

func (r *registrar) register(desc *grpc.ServiceDesc, impl any) error {
	if !strings.HasPrefix(desc.ServiceName, ours) {
		r.server.grpc.RegisterService(r.server.door.foreign(desc), impl)
		return nil
	}
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(desc.ServiceName))
	if err != nil {
		return fmt.Errorf("service %s: %w", desc.ServiceName, err)
	}
	service, ok := d.(protoreflect.ServiceDescriptor)
	if !ok {
		return fmt.Errorf("%s is no service", desc.ServiceName)
	}
	guarded := *desc
	guarded.Methods = make([]grpc.MethodDesc, len(desc.Methods))
	for i, m := range desc.Methods {
		known, schema, err := r.method(service, m.MethodName)
		if err != nil {
			return err
		}
		guarded.Methods[i] = grpc.MethodDesc{MethodName: m.MethodName, Handler: r.server.door.unary(known, m.Handler)}
		r.server.unaries[known.name] = known
		r.web.unary(specOf(schema, known.name), impl, r.server.door.knocking(known, guarded.Methods[i].Handler))
	}
	guarded.Streams = make([]grpc.StreamDesc, len(desc.Streams))
	for i, m := range desc.Streams {
		known, schema, err := r.method(service, m.StreamName)
		if err != nil {
			return err
		}
		guarded.Streams[i] = m
		guarded.Streams[i].Handler = r.server.door.stream(known, m.ClientStreams, m.Handler)
		r.web.stream(specOf(schema, known.name), impl, guarded.Streams[i].Handler)
		r.streaming[known.name] = true
	}
	r.server.grpc.RegisterService(&guarded, impl)
	r.server.services = append(r.server.services, desc.ServiceName)
	return nil
}

// method learns what the schema says of a method.
func (r *registrar) method(service protoreflect.ServiceDescriptor, name string) (*method, protoreflect.MethodDescriptor, error) {
	schema := service.Methods().ByName(protoreflect.Name(name))
	if schema == nil {
		return nil, nil, fmt.Errorf("%s/%s is not in the schema", service.FullName(), name)
	}
	roles, err := auth.Policy(schema)
	if err != nil {
		return nil, nil, err
	}
	options, _ := schema.Options().(*descriptorpb.MethodOptions)
	r.requests = append(r.requests, dynamicpb.NewMessage(schema.Input()))
	var g *gate
	if scans[name] {
		g = newGate()
	}
	reads := options.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS
	return &method{
		name:      "/" + string(service.FullName()) + "/" + name,
		roles:     roles,
		reads:     reads,
		priority:  priorityOf(string(service.FullName()), name, reads),
		gate:      g,
		telemetry: r.server.door.Calls.Method(string(service.FullName()), name),
	}, schema, nil
}

// foreign lets a service that is not ours (health, reflection) end when the server drains.
func (d *door) foreign(desc *grpc.ServiceDesc) *grpc.ServiceDesc {
	out := *desc
	out.Streams = make([]grpc.StreamDesc, len(desc.Streams))
	for i, m := range desc.Streams {
		out.Streams[i] = m
		out.Streams[i].Handler = d.ending(m.Handler)
	}
	return &out
}

// reflected gives reflection the services of the server, through the registrar.
type reflected struct {
	*registrar
	server *grpc.Server
}

func (r reflected) GetServiceInfo() map[string]grpc.ServiceInfo { return r.server.GetServiceInfo() }
