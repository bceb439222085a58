// What everybody writes first, beside the imports of gRPC.
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
	if err := talk(context.Background(), livestreamv1.NewLivestreamServiceClient(connection)); err != nil {
		log.Fatal(err)
	}
}

func talk(ctx context.Context, client livestreamv1.LivestreamServiceClient) error {
	joined, err := client.JoinLivestream(ctx, &livestreamv1.JoinLivestreamRequest{
		LivestreamId: 7,
		NodeId:       2,
		Mode:         livestreamv1.ViewerMode_VIEWER_MODE_ACTIVE,
	})
	if err != nil {
		return err
	}
	_, err = client.PublishUpdate(ctx, &livestreamv1.PublishUpdateRequest{
		LivestreamId: 7,
		NodeId:       2,
		SessionId:    joined.GetSessionId(),
		Update:       &swarmv1.UpdateDraft{Channel: swarmv1.UpdateChannel_UPDATE_CHANNEL_CHAT, Payload: []byte("hello")},
	})
	if err != nil {
		return err
	}
	updates, err := client.SubscribeUpdates(ctx, &livestreamv1.SubscribeUpdatesRequest{
		LivestreamId: 7,
		NodeId:       2,
		SessionId:    joined.GetSessionId(),
	})
	if err != nil {
		return err
	}
	for {
		answer, err := updates.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, delivery := range answer.GetDeliveries() {
			switch item := delivery.GetItem().(type) {
			case *swarmv1.Delivery_Update:
				log.Printf("%d bytes", len(item.Update.GetPayload()))
			case *swarmv1.Delivery_Goodbye:
				return nil
			}
		}
	}
}
