// What everybody writes first, beside the imports of gRPC. docs/clients/first-lines.md shows it.
package main

import (
	"context"
	"errors"
	"io"
	"log"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	livestreamv1 "starling.dev/go/starling/livestream/v1"
	swarmv1 "starling.dev/go/starling/swarm/v1"
)

func main() {
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	client := livestreamv1.NewLivestreamServiceClient(connection)
	if err := publish(context.Background(), client); err != nil {
		log.Fatal(err)
	}
	if err := watch(context.Background(), client); !errors.Is(err, io.EOF) {
		log.Fatal(err)
	}
}

func watch(ctx context.Context, client livestreamv1.LivestreamServiceClient) error {
	joined, err := client.JoinLivestream(ctx, &livestreamv1.JoinLivestreamRequest{LivestreamId: 7, NodeId: 2})
	if err != nil {
		return err
	}
	log.Print(joined.GetLivestream().GetState())
	updates, err := client.SubscribeUpdates(ctx, &livestreamv1.SubscribeUpdatesRequest{
		LivestreamId: 7, NodeId: 2, SessionId: joined.GetSessionId(),
	})
	for err == nil {
		var answer *livestreamv1.SubscribeUpdatesResponse
		answer, err = updates.Recv()
		for _, delivery := range answer.GetDeliveries() {
			if update := delivery.GetUpdate(); update != nil {
				log.Print(update.GetPosition(), len(update.GetPayload()))
			}
		}
	}
	return err // io.EOF when the livestream has ended
}

func publish(ctx context.Context, client livestreamv1.LivestreamServiceClient) error {
	visual := swarmv1.UpdateChannel_UPDATE_CHANNEL_VISUAL
	open := &livestreamv1.PublishOpen{LivestreamId: 7, NodeId: 1, Channels: []swarmv1.UpdateChannel{visual}}
	update := &swarmv1.UpdateDraft{Channel: visual, Keyframe: true, Payload: []byte("hello")}
	stream, err := client.PublishUpdates(ctx)
	if err != nil {
		return err
	}
	stream.Send(&livestreamv1.PublishUpdatesRequest{Message: &livestreamv1.PublishUpdatesRequest_Open{Open: open}})
	stream.Send(&livestreamv1.PublishUpdatesRequest{Message: &livestreamv1.PublishUpdatesRequest_Update{Update: update}})
	for {
		answer, err := stream.Recv() // says why, when Send failed
		if err != nil || answer.GetAck() != nil {
			return err
		}
	}
}
