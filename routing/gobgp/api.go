package gobgp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/server"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// readOnlyAPI is GoBGP's gRPC API on a unix socket, for people with the gobgp
// command. Nothing can be changed there: a path added behind the gate's back
// would be announced whether or not it is served.
type readOnlyAPI struct{ socket string }

func newReadOnlyAPI(socket string) (*readOnlyAPI, error) {
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("serve speaker API: %w", err)
	}
	return &readOnlyAPI{socket: socket}, nil
}

func (a *readOnlyAPI) options() []server.ServerOption {
	return []server.ServerOption{
		server.GrpcListenAddress("unix://" + a.socket),
		server.GrpcOption([]grpc.ServerOption{
			grpc.UnaryInterceptor(readUnary), grpc.StreamInterceptor(readStream),
		}),
	}
}

func readOnly(method string) error {
	name := path.Base(method)
	for _, prefix := range []string{"List", "Get", "Watch"} {
		if strings.HasPrefix(name, prefix) {
			return nil
		}
	}
	return status.Errorf(codes.PermissionDenied, "%s: this API only reads; vipilot alone decides what is announced", name)
}

func readUnary(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := readOnly(info.FullMethod); err != nil {
		return nil, err
	}
	return next(ctx, request)
}

func readStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := readOnly(info.FullMethod); err != nil {
		return err
	}
	return next(srv, redacted{stream})
}

// redacted keeps passwords from the reader: GoBGP lists peers with theirs.
type redacted struct{ grpc.ServerStream }

func (r redacted) SendMsg(m any) error {
	if list, ok := m.(*api.ListPeerResponse); ok && list.GetPeer().GetConf() != nil {
		list.Peer.Conf.AuthPassword = ""
	}
	return r.ServerStream.SendMsg(m)
}
