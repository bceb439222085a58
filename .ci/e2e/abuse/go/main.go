// An honest publisher that is as fast as it can be, with grpc-go and its default settings:
// go run . ADDRESS PID SECONDS STOP
//
// It publishes updates of 0, 10 and 100 bytes on 1, 8 and 64 streams of one connection, SECONDS for each combination,
// and stops the server (PID) for STOP seconds in the middle. A stream that ends before its time, an update that is
// refused or not acknowledged ends it.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	livestreamv1 "starling.dev/go/starling/livestream/v1"
	swarmv1 "starling.dev/go/starling/swarm/v1"
)

const (
	broadcaster = 1
	channel     = swarmv1.UpdateChannel_UPDATE_CHANNEL_DATA
)

var livestreams uint64 // that were created

func main() {
	log.SetFlags(0)
	pid, err := strconv.Atoi(os.Args[2])
	check(err, "the second argument")
	publishing, stopped := seconds(os.Args[3]), seconds(os.Args[4])
	for _, payload := range []int{0, 10, 100} {
		for _, streams := range []int{1, 8, 64} {
			updates := publish(os.Args[1], pid, payload, streams, publishing, stopped)
			fmt.Printf("%d bytes, %d streams: %d updates, all acknowledged\n", payload, streams, updates)
		}
	}
}

// publish publishes on so many streams of a connection, and answers with how many updates that were.
func publish(address string, pid, payload, streams int, publishing, stopped time.Duration) uint64 {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(err, "the first argument")
	defer connection.Close()
	client := livestreamv1.NewLivestreamServiceClient(connection)
	var opened, done sync.WaitGroup
	var updates atomic.Uint64
	var until atomic.Pointer[time.Time]
	opened.Add(streams)
	for range streams {
		livestreams++
		id := livestreams
		done.Go(func() { updates.Add(stream(client, id, payload, &opened, &until)) })
	}
	opened.Wait()
	end := time.Now().Add(publishing)
	until.Store(&end)
	time.Sleep(publishing / 2)
	check(syscall.Kill(pid, syscall.SIGSTOP), "stop the server")
	time.Sleep(stopped)
	check(syscall.Kill(pid, syscall.SIGCONT), "let the server go on")
	done.Wait()
	return updates.Load()
}

// stream publishes into a livestream of its own from when the time is set until it is over.
func stream(client livestreamv1.LivestreamServiceClient, id uint64, payload int, opened *sync.WaitGroup,
	until *atomic.Pointer[time.Time]) uint64 {
	ctx := context.Background()
	_, err := client.CreateLivestream(ctx, &livestreamv1.CreateLivestreamRequest{LivestreamId: id, NodeId: broadcaster})
	check(err, "create")
	_, err = client.StartLivestream(ctx, &livestreamv1.StartLivestreamRequest{LivestreamId: id, NodeId: broadcaster})
	check(err, "start")
	joined, err := client.JoinLivestream(ctx, &livestreamv1.JoinLivestreamRequest{LivestreamId: id, NodeId: broadcaster})
	check(err, "join")
	stream, err := client.PublishUpdates(ctx)
	check(err, "publish")
	open := &livestreamv1.PublishOpen{
		LivestreamId: id,
		NodeId:       broadcaster,
		SessionId:    joined.GetSessionId(),
		Channels:     []swarmv1.UpdateChannel{channel},
	}
	check(stream.Send(&livestreamv1.PublishUpdatesRequest{Message: &livestreamv1.PublishUpdatesRequest_Open{Open: open}}), "open")
	_, err = stream.Recv()
	check(err, "the first answer")
	opened.Done()
	acknowledged := make(chan uint64)
	go func() { acknowledged <- acknowledgements(stream) }()
	for until.Load() == nil {
		time.Sleep(time.Millisecond)
	}
	sent := uint64(0)
	for time.Now().Before(*until.Load()) {
		sent++
		draft := &swarmv1.UpdateDraft{Channel: channel, Payload: make([]byte, payload), PublisherSequence: sent}
		update := &livestreamv1.PublishUpdatesRequest_Update{Update: draft}
		if err = stream.Send(&livestreamv1.PublishUpdatesRequest{Message: update}); err != nil {
			// Why, the other direction tells.
			log.Fatalf("after %d updates of %d bytes: %v, %d acknowledged", sent, payload, err, <-acknowledged)
		}
	}
	check(stream.CloseSend(), "end")
	through := <-acknowledged
	if through != sent {
		log.Fatalf("%d updates of %d bytes: %d acknowledged", sent, payload, through)
	}
	return sent
}

// acknowledgements reads to the end of a stream, and answers with the last update that was acknowledged.
func acknowledgements(stream livestreamv1.LivestreamService_PublishUpdatesClient) (through uint64) {
	for {
		answer, err := stream.Recv()
		if err == io.EOF {
			return through
		}
		check(err, fmt.Sprintf("the stream, after %d acknowledgements", through))
		switch event := answer.GetEvent().(type) {
		case *livestreamv1.PublishUpdatesResponse_Ack:
			through = event.Ack.GetChannels()[0].GetAcceptedThrough()
		case *livestreamv1.PublishUpdatesResponse_Rejected, *livestreamv1.PublishUpdatesResponse_Revoked,
			*livestreamv1.PublishUpdatesResponse_Goodbye:
			log.Fatalf("after %d acknowledgements the server says %v", through, answer)
		}
	}
}

func seconds(text string) time.Duration {
	value, err := strconv.ParseFloat(text, 64)
	check(err, "seconds")
	return time.Duration(value * float64(time.Second))
}

func check(err error, doing string) {
	if err != nil {
		log.Fatalf("%s: %v", doing, err)
	}
}
