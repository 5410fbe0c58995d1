package haproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The methods of the service that grpcApp serves.
const (
	grpcSay  = "/test.Echo/Say"  // unary
	grpcTalk = "/test.Echo/Talk" // streams both ways
)

// grpcApp is a gRPC application: Say answers with its name and the length of
// what it was told, refuses "refuse" and never answers "hang"; Talk echoes.
// Both end with a trailer. What hangs is told of, and again when its caller
// gave up.
func grpcApp(t *testing.T, name string) (server Server, hangs chan string) {
	n := listenAnywhere(t)
	hangs = make(chan string, 2)
	trailer := metadata.Pairs("x-name", name)
	say := func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		said := new(wrapperspb.StringValue)
		if err := decode(said); err != nil {
			return nil, err
		}
		_ = grpc.SetTrailer(ctx, trailer)
		switch said.Value {
		case "refuse":
			return nil, status.Error(codes.FailedPrecondition, "not today: 100% ☂")
		case "hang":
			hangs <- "it hangs"
			<-ctx.Done()
			hangs <- "its caller gave up"
		}
		return wrapperspb.String(fmt.Sprintf("%s %d", name, len(said.Value))), nil
	}
	talk := func(_ any, stream grpc.ServerStream) error {
		stream.SetTrailer(trailer)
		for {
			said := new(wrapperspb.StringValue)
			if err := stream.RecvMsg(said); err != nil {
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			}
			if err := stream.SendMsg(said); err != nil {
				return err
			}
		}
	}
	s := grpc.NewServer()
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "test.Echo", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Say", Handler: say}},
		Streams: []grpc.StreamDesc{{StreamName: "Talk", Handler: talk, ServerStreams: true, ClientStreams: true}}}, nil)
	go func() { _ = s.Serve(n) }()
	t.Cleanup(s.Stop)
	return Server{Name: name, Address: netip.MustParseAddrPort(n.Addr().String()), State: Ready, Weight: 100}, hangs
}

// grpcClient speaks to a port of HAProxy, over TLS or without.
type grpcClient struct{ *grpc.ClientConn }

func newGRPCClient(t *testing.T, port uint16, secure bool) grpcClient {
	t.Helper()
	how := insecure.NewCredentials()
	if secure {
		how = credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})
	}
	conn, err := grpc.NewClient(fmt.Sprintf("passthrough:///127.0.0.1:%d", port), grpc.WithTransportCredentials(how), grpc.WithAuthority("x"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return grpcClient{conn}
}

// say calls Say and returns the answer and who signed the trailer.
func (c grpcClient) say(ctx context.Context, text string) (answer, by string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	reply, trailer := new(wrapperspb.StringValue), metadata.MD{}
	err = c.Invoke(ctx, grpcSay, wrapperspb.String(text), reply, grpc.Trailer(&trailer))
	return reply.Value, strings.Join(trailer.Get("x-name"), ","), err
}

// talk opens a Talk.
func (c grpcClient) talk(ctx context.Context) (grpc.ClientStream, error) {
	return c.NewStream(ctx, &grpc.StreamDesc{StreamName: "Talk", ServerStreams: true, ClientStreams: true}, grpcTalk)
}

// echoed sends some messages, each after the answer to the one before.
func echoed(s grpc.ClientStream, n int) error {
	for i := range n {
		sent, got := wrapperspb.String(fmt.Sprint("message ", i)), new(wrapperspb.StringValue)
		if err := errors.Join(s.SendMsg(sent), s.RecvMsg(got)); err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
		if got.Value != sent.Value {
			return fmt.Errorf("message %d came back as %q", i, got.Value)
		}
	}
	return nil
}

// gRPC passes, over TLS and without: both sides of HAProxy speak HTTP/2, and
// trailers, refusals, cancellations and streams reach the other end. Calls on
// one connection are spread over the servers.
func TestE2EGRPC(t *testing.T) {
	l := newLab(t)
	plain, secure := freePort(t), freePort(t)
	a, hangs := grpcApp(t, "a")
	b, _ := grpcApp(t, "b")
	want := simple(plain, a)
	want.Frontends = append(want.Frontends, Frontend{Name: "secure", Mode: HTTP, Binds: []Bind{{loopback, secure}}, Default: "app",
		Certificates: []Certificate{{Name: "a", PEM: testPEM(t, "x")}}})
	want.Backends[0].H2 = true
	l.set(want)
	for _, tls := range []bool{false, true} {
		port := plain
		if tls {
			port = secure
		}
		c := newGRPCClient(t, port, tls)
		answer, by, err := c.say(t.Context(), strings.Repeat("x", 3<<20))
		if err != nil || answer != "a 3145728" || by != "a" {
			t.Errorf("TLS %v: %q, trailer of %q, %v", tls, answer, by, err)
		}
		_, by, err = c.say(t.Context(), "refuse")
		if s := status.Convert(err); s.Code() != codes.FailedPrecondition || s.Message() != "not today: 100% ☂" || by != "a" {
			t.Errorf("TLS %v: a refusal came as %v, trailer of %q", tls, err, by)
		}
		err = c.Invoke(t.Context(), "/test.Echo/Shout", wrapperspb.String(""), new(wrapperspb.StringValue))
		if status.Code(err) != codes.Unimplemented {
			t.Errorf("TLS %v: an unknown method: %v", tls, err)
		}
		stream, err := c.talk(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := echoed(stream, 100); err != nil {
			t.Errorf("TLS %v: a talk: %v", tls, err)
		}
		if err := errors.Join(stream.CloseSend(), drained(stream)); err != nil || len(stream.Trailer().Get("x-name")) != 1 {
			t.Errorf("TLS %v: the talk ended with %v, trailer %v", tls, err, stream.Trailer())
		}
		ctx, cancel := context.WithCancel(t.Context())
		hung := make(chan error, 1)
		go func() { _, _, err := c.say(ctx, "hang"); hung <- err }()
		l.hears("it hangs", hangs)
		cancel()
		l.hears("its caller gave up", hangs)
		if err := <-hung; status.Code(err) != codes.Canceled {
			t.Errorf("TLS %v: a cancelled call: %v", tls, err)
		}
	}
	if change := l.set(withServers(want, a, b)); change.Kind != Runtime {
		t.Fatalf("%+v", change)
	}
	c, seen := newGRPCClient(t, secure, true), make(map[string]int)
	for range 20 {
		_, by, err := c.say(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		seen[by]++
	}
	if seen["a"] != 10 || seen["b"] != 10 {
		t.Errorf("one connection's calls went to %v, want half to each", seen)
	}
}

// hears waits for what an application tells.
func (l *lab) hears(what string, told <-chan string) {
	l.t.Helper()
	l.eventually(what, func() bool {
		select {
		case said := <-told:
			return said == what
		default:
			return false
		}
	})
}

// drained reads a stream to its end, where nothing more is expected.
func drained(s grpc.ClientStream) error {
	if err := s.RecvMsg(new(wrapperspb.StringValue)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("want the end of the stream, got %v", err)
	}
	return nil
}

// Reloads lose no call: those under way end on the old worker, the next are
// made over a connection to the new one.
func TestE2EGRPCReload(t *testing.T) {
	l := newLab(t)
	l.run()
	port := freePort(t)
	a, _ := grpcApp(t, "a")
	want := simple(port, a)
	want.Backends[0].H2 = true
	want.Frontends[0].Certificates = []Certificate{{Name: "a", PEM: testPEM(t, "x")}}
	l.set(want)
	stream, err := newGRPCClient(t, port, true).talk(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 4 {
		c := newGRPCClient(t, port, true)
		clients.Go(func() {
			for ctx.Err() == nil {
				if _, _, err := c.say(t.Context(), "hello"); err != nil {
					t.Errorf("a call during reloads: %v", err)
				}
			}
		})
	}
	other := Frontend{Name: "z", Mode: HTTP, Binds: []Bind{{loopback, freePort(t)}}, Default: "app"}
	for i := range 6 {
		want.Frontends = slices.Clone(want.Frontends[:1])
		if i%2 == 0 {
			want.Frontends = append(want.Frontends, other)
		}
		if change := l.set(want); change.Kind != Reload {
			t.Errorf("%+v", change)
		}
		if err := echoed(stream, 10); err != nil {
			t.Errorf("reload %d: the talk: %v", i, err)
		}
	}
	cancel()
	clients.Wait()
	if err := errors.Join(stream.CloseSend(), drained(stream)); err != nil {
		t.Error(err)
	}
	l.eventually("no old worker is left", func() bool { return l.Status().OldWorkers == 0 })
}
