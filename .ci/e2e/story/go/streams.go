package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	livestreamv1 "starling.dev/go/starling/livestream/v1"
	swarmv1 "starling.dev/go/starling/swarm/v1"
)

const visual = swarmv1.UpdateChannel_UPDATE_CHANNEL_VISUAL

func (s *story) watch(node uint64) *livestreamv1.WatchTargetsRequest {
	return &livestreamv1.WatchTargetsRequest{
		LivestreamId: id,
		NodeId:       node,
		SessionId:    s.sessions[node],
		OfNodeId:     node,
	}
}

func (s *story) subscription(resume *swarmv1.SubscriptionPosition) *livestreamv1.SubscribeUpdatesRequest {
	return &livestreamv1.SubscribeUpdatesRequest{
		LivestreamId: id,
		NodeId:       subscriber,
		SessionId:    s.sessions[subscriber],
		Channels:     []swarmv1.UpdateChannel{visual},
		ResumeFrom:   resume,
	}
}

func (s *story) open() *livestreamv1.PublishUpdatesRequest {
	open := &livestreamv1.PublishOpen{
		LivestreamId: id,
		NodeId:       broadcaster,
		SessionId:    s.sessions[broadcaster],
		Channels:     []swarmv1.UpdateChannel{visual},
	}
	return &livestreamv1.PublishUpdatesRequest{Message: &livestreamv1.PublishUpdatesRequest_Open{Open: open}}
}

// publication is what it took to publish: streams that were opened again, updates that were sent again, renewed tokens.
type publication struct{ reopenings, carried, renewals int }

// publish sends the updates at an even pace, each under its number. What is not acknowledged is kept, and sent again
// on the next stream unless the server says there that it has it. The token is renewed every two seconds.
func (s *story) publish() (published publication) {
	var kept []*swarmv1.UpdateDraft
	sent, keyframe := uint64(0), true
	acknowledged := func(through uint64) {
		kept = slices.DeleteFunc(kept, func(draft *swarmv1.UpdateDraft) bool {
			return draft.GetPublisherSequence() <= through
		})
	}
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	var renewals <-chan time.Time
	if trust != "" {
		renewals = time.Tick(2 * time.Second)
	}
	for ; ; published.reopenings++ {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		stream, err := s.as(broadcaster).PublishUpdates(ctx)
		check(err, "publish")
		check(stream.Send(s.open()), "open")
		send := func(draft *swarmv1.UpdateDraft) {
			draft.Keyframe, keyframe = keyframe, false
			// An error means that the stream is over, and Recv says why. The update is kept.
			update := &livestreamv1.PublishUpdatesRequest_Update{Update: draft}
			_ = stream.Send(&livestreamv1.PublishUpdatesRequest{Message: update})
		}
		first, err := stream.Recv()
		check(err, "the first answer")
		opened := first.GetOpened()
		granted := opened.GetChannels()[0]
		expect(granted.GetMaxPayloadBytes() == s.limits.GetMaxPayloadBytes(), "the largest payload:", granted)
		expect(proto.Equal(opened.GetHeartbeatInterval(), s.limits.GetHeartbeatInterval()), "the heartbeat:", opened)
		keyframe = granted.GetKeyframeWanted()
		acknowledged(granted.GetLastPublisherSequence())
		published.carried += len(kept)
		for _, draft := range kept {
			send(draft)
		}
		answers, ended := make(chan *livestreamv1.PublishUpdatesResponse), make(chan error, 1)
		go func() {
			for {
				answer, err := stream.Recv()
				if err != nil {
					ended <- err
					return
				}
				answers <- answer
			}
		}()
		var goodbye *swarmv1.Goodbye
		for open := true; open; {
			select {
			case <-ticker.C:
				// Whoever has no position yet begins at the newest keyframe: let that be the first update.
				if sent == updates || sent == 1 && !s.begun.Load() {
					break
				}
				sent++
				draft := &swarmv1.UpdateDraft{Channel: visual, Payload: payload(sent), PublisherSequence: sent}
				kept = append(kept, draft)
				send(draft)
			case <-renewals:
				token, err := tokenOf("1").read()
				check(err, "the token")
				renew := &livestreamv1.PublishUpdatesRequest_Renew{Renew: &swarmv1.RenewToken{Token: token}}
				_ = stream.Send(&livestreamv1.PublishUpdatesRequest{Message: renew})
			case answer := <-answers:
				switch event := answer.GetEvent().(type) {
				case *livestreamv1.PublishUpdatesResponse_Ack:
					acknowledged(event.Ack.GetChannels()[0].GetAcceptedThrough())
					if sent == updates && len(kept) == 0 {
						return published
					}
				case *livestreamv1.PublishUpdatesResponse_Renewed:
					published.renewals++
				case *livestreamv1.PublishUpdatesResponse_KeyframeRequest:
					keyframe = true
				case *livestreamv1.PublishUpdatesResponse_Goodbye:
					goodbye = event.Goodbye
				case *livestreamv1.PublishUpdatesResponse_Rejected, *livestreamv1.PublishUpdatesResponse_Revoked:
					expect(false, "the server says", event)
				}
			case err := <-ended:
				expect(planned(goodbye, err), "the publish stream ended:", goodbye, err)
				open = false
			}
		}
	}
}

func payload(number uint64) []byte { return fmt.Appendf(nil, "update %d", number) }

// subscribe receives the updates, and resumes at the last position whenever a stream ends of its age.
func (s *story) subscribe() (resumes int) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var resume *swarmv1.SubscriptionPosition
	for next := uint64(1); ; resumes++ {
		stream, err := s.as(subscriber).SubscribeUpdates(ctx, s.subscription(resume))
		check(err, "subscribe")
		for goodbye := (*swarmv1.Goodbye)(nil); ; {
			answer, err := stream.Recv()
			if err != nil {
				expect(planned(goodbye, err), "the subscription ended:", goodbye, err)
				break
			}
			for _, delivery := range answer.GetDeliveries() {
				switch item := delivery.GetItem().(type) {
				case *swarmv1.Delivery_Subscribed:
					if resume == nil {
						// Without positions: what waits for its first keyframe has none yet.
						resume = &swarmv1.SubscriptionPosition{Epoch: item.Subscribed.GetEpoch()}
					}
				case *swarmv1.Delivery_Update:
					expect(string(item.Update.GetPayload()) == string(payload(next)), "update", next, "is", item.Update)
					s.begun.Store(true)
					resume.Positions = []*swarmv1.UpdatePosition{item.Update.GetPosition()}
					if next++; next > updates {
						return resumes
					}
				case *swarmv1.Delivery_Gap:
					expect(false, "a gap:", item.Gap)
				case *swarmv1.Delivery_Goodbye:
					goodbye = item.Goodbye
				}
			}
		}
	}
}
