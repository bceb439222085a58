package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	livestreamv1 "starling.dev/go/starling/livestream/v1"
	swarmv1 "starling.dev/go/starling/swarm/v1"
)

// trust is the directory with the authority that vouches for the server, and the tokens; empty = neither.
var trust = os.Getenv("STORY_TRUST")

// tokenFile is the credential of a node: its file is read for each call, and replaced by others meanwhile.
type tokenFile string

func tokenOf(name string) tokenFile { return tokenFile(filepath.Join(trust, name+".jwt")) }

func (file tokenFile) read() (string, error) {
	token, err := os.ReadFile(string(file))
	return strings.TrimSpace(string(token)), err
}

func (file tokenFile) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := file.read()
	return map[string]string{"authorization": "Bearer " + token}, err
}

func (tokenFile) RequireTransportSecurity() bool { return true }

// dial connects with the token of this name.
func dial(address, name string) *grpc.ClientConn {
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if trust != "" {
		authority, err := credentials.NewClientTLSFromFile(filepath.Join(trust, "ca.pem"), "")
		check(err, "the authority")
		options = []grpc.DialOption{
			grpc.WithTransportCredentials(authority),
			grpc.WithPerRPCCredentials(tokenOf(name)),
		}
	}
	connection, err := grpc.NewClient(address, options...)
	check(err, "the first argument")
	return connection
}

// as is a client that calls as this node. Who only comes and goes is vouched for by a back-end, as one token of many.
func (s *story) as(node uint64) livestreamv1.LivestreamServiceClient {
	if trust == "" {
		return s.clients["1"]
	}
	if node > subscriber {
		return s.clients["crowd"]
	}
	return s.clients[fmt.Sprint(node)]
}

// planned is true when a stream ended of its age: the same server goes on at once. With a token it is the token's age.
func planned(goodbye *swarmv1.Goodbye, err error) bool {
	reason, code := swarmv1.GoodbyeReason_GOODBYE_REASON_STREAM_AGE, codes.Unavailable
	if trust != "" {
		reason, code = swarmv1.GoodbyeReason_GOODBYE_REASON_TOKEN_EXPIRED, codes.Unauthenticated
	}
	return goodbye.GetReason() == reason && status.Code(err) == code
}

// refusals shows a token that counts for nothing, and asks for what a viewer may not do.
func (s *story) refusals(address string) {
	if trust == "" {
		return
	}
	ctx := context.Background()
	refused := func(err error, code codes.Code, reason string) {
		found := detail[*errdetails.ErrorInfo](err).GetReason()
		expect(status.Code(err) == code && found == reason, code, reason, "is", err)
	}
	wrong := dial(address, "wrong")
	defer wrong.Close()
	get := &livestreamv1.GetLivestreamRequest{LivestreamId: id}
	_, err := livestreamv1.NewLivestreamServiceClient(wrong).GetLivestream(ctx, get)
	refused(err, codes.Unauthenticated, "TOKEN_INVALID")
	draft := &swarmv1.UpdateDraft{Channel: visual, Payload: []byte("not mine")}
	_, err = s.as(subscriber).PublishUpdate(ctx, &livestreamv1.PublishUpdateRequest{LivestreamId: id, Update: draft})
	refused(err, codes.PermissionDenied, "NOT_GRANTED")
	_, err = s.as(subscriber).LeaveLivestream(ctx, &livestreamv1.LeaveLivestreamRequest{LivestreamId: id, NodeId: watched})
	refused(err, codes.PermissionDenied, "NOT_YOUR_NODE")
	fmt.Println("refused: a wrong token, a viewer that publishes, one that acts for another")
}
