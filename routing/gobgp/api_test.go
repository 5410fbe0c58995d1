package gobgp

import (
	"testing"

	api "github.com/osrg/gobgp/v3/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/vipilot/vipilot/routing"
)

func client(t *testing.T, socket string) api.GobgpApiClient {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return api.NewGobgpApiClient(conn)
}

func listPeers(t *testing.T, socket string) (peers []*api.Peer, raw []byte) {
	t.Helper()
	stream, err := client(t, socket).ListPeer(t.Context(), &api.ListPeerRequest{}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	for {
		r, err := stream.Recv()
		if err != nil {
			return peers, raw
		}
		b, err := proto.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		peers, raw = append(peers, r.Peer), append(raw, b...)
	}
}

func addPathOver(t *testing.T, socket string) error {
	t.Helper()
	request, err := addRequest(65010, routing.Prefix{Prefix: prefix("203.0.113.99/32").Prefix})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client(t, socket).AddPath(t.Context(), request)
	return err
}
