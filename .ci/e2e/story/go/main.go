// The story of an ordinary client, with grpc-go and its default settings: go run . ADDRESS PID
//
// It creates a livestream, joins it with 20 viewers, folds what is watched under churn, publishes 600 updates and
// receives them across the ages of streams and connections, reads the details of an error, sets a deadline, and tells
// the server (PID) to stop. Any surprise ends it. With STORY_TRUST all of that is over TLS, each node with a token of
// its own that ends within seconds.
package main

import (
	"context"
	"fmt"
	"log"
	"maps"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	livestreamv1 "starling.dev/go/starling/livestream/v1"
	swarmv1 "starling.dev/go/starling/swarm/v1"
)

const (
	id          = 7
	broadcaster = 1
	watched     = 2 // whose targets are folded
	subscriber  = 3
	last        = 21 // the viewers are 2..21
	updates     = 600
	pace        = time.Second / 30
)

type story struct {
	clients  map[string]livestreamv1.LivestreamServiceClient // by the name of their token
	server   swarmv1.ServerServiceClient
	sessions map[uint64]uint64 // by node
	begun    atomic.Bool       // the subscriber has the first update
	limits   *swarmv1.ServerLimits
}

func main() {
	log.SetFlags(0)
	pid, err := strconv.Atoi(os.Args[2])
	check(err, "the second argument")
	s := &story{sessions: map[uint64]uint64{}}
	s.connect(os.Args[1])
	s.begin()
	s.liveThrough()
	s.errorDetails()
	s.refusals(os.Args[1])
	// The rest over a new connection: the old one might reach its age just then, which ends streams otherwise.
	s.connect(os.Args[1])
	s.deadline()
	s.shutdown(pid)
}

func (s *story) connect(address string) {
	s.clients = map[string]livestreamv1.LivestreamServiceClient{}
	for _, name := range []string{"1", "2", "3", "crowd"} {
		connection := dial(address, name)
		s.clients[name] = livestreamv1.NewLivestreamServiceClient(connection)
		if name == "1" {
			s.server = swarmv1.NewServerServiceClient(connection)
		}
	}
}

// begin asks what the server allows, creates the livestream, starts it and joins everybody.
func (s *story) begin() {
	ctx := context.Background()
	info, err := s.server.GetServerInfo(ctx, &swarmv1.GetServerInfoRequest{})
	check(err, "get server info")
	s.limits = info.GetLimits()
	_, err = s.as(broadcaster).CreateLivestream(ctx, &livestreamv1.CreateLivestreamRequest{
		LivestreamId: id,
		NodeId:       broadcaster,
		Config: &livestreamv1.LivestreamConfig{
			// A tree with several levels, so that viewers have targets.
			StarToTreeThreshold: proto.Uint32(10),
			TreeFanout:          proto.Uint32(3),
			// On a busy machine nobody is to skip ahead.
			MaxLag: durationpb.New(time.Minute),
		},
	})
	check(err, "create")
	start := &livestreamv1.StartLivestreamRequest{LivestreamId: id, NodeId: broadcaster}
	_, err = s.as(broadcaster).StartLivestream(ctx, start)
	check(err, "start")
	for node := uint64(broadcaster); node <= last; node++ {
		s.sessions[node] = s.join(node)
	}
	fmt.Printf("created, started, %d viewers and the broadcaster joined\n", last-broadcaster)
}

func (s *story) join(node uint64) uint64 {
	joined, err := s.as(node).JoinLivestream(context.Background(), &livestreamv1.JoinLivestreamRequest{
		LivestreamId: id,
		NodeId:       node,
		LeaseTtl:     durationpb.New(5 * time.Minute), // most of them open no stream
	})
	check(err, "join")
	return joined.GetSessionId()
}

// liveThrough publishes and receives, while viewers come and go and two watches are folded.
func (s *story) liveThrough() {
	ctx, cancel := context.WithCancel(context.Background())
	var work, folds sync.WaitGroup
	targets, roster := newFold[*swarmv1.TargetList](), newFold[map[uint64]uint64]()
	folds.Go(func() { s.foldTargets(ctx, targets) })
	folds.Go(func() { s.foldRoster(ctx, roster) })
	var published publication
	var resumes int
	work.Go(func() { resumes = s.subscribe() })
	work.Go(func() { published = s.publish() })

	done := make(chan struct{})
	go func() { work.Wait(); close(done) }()
	answers := s.churn(done)
	fmt.Printf("published %d of %d: %d reopenings, %d carried over, %d renewals\n",
		updates, updates, published.reopenings, published.carried, published.renewals)
	// Where streams end with their tokens the one that is renewed goes on.
	expect(trust == "" || published.reopenings == 0 && published.renewals > 1 && resumes > 1, published, resumes)
	fmt.Printf("received %d of %d in order, without a gap: %d resumes\n", updates, updates, resumes)

	// Nothing changes any more. The next heartbeat tells the folds that they are current.
	end := s.targets()
	targets.reach(end.GetRevision())
	compared := 0
	for _, answer := range append(answers, end) {
		if folded, known := targets.at[answer.GetRevision()]; known {
			expect(proto.Equal(sorted(answer.GetTargets()), folded), "the folded targets equal GetTargets")
			compared++
		}
	}
	fmt.Printf("targets: %d messages folded, equal to GetTargets at %d revisions: %d reopenings\n",
		len(targets.at), compared, targets.reopenings)
	list, err := s.as(broadcaster).ListViewers(ctx, &livestreamv1.ListViewersRequest{LivestreamId: id})
	check(err, "list viewers")
	roster.reach(list.GetRevision())
	expect(maps.Equal(sessions(list.GetViewers()), roster.at[list.GetRevision()]), "the folded roster equals ListViewers")
	fmt.Printf("roster: %d messages folded, equal to ListViewers: %d resumes\n", len(roster.at), roster.reopenings)
	cancel()
	folds.Wait()
}

// churn has viewers come and go until the rest is done, and asks now and then for what the fold should be.
func (s *story) churn(done <-chan struct{}) (answers []*livestreamv1.GetTargetsResponse) {
	const first, stay = 100, 5
	for node := uint64(first); ; node++ {
		select {
		case <-done:
			return answers
		case <-time.After(100 * time.Millisecond):
		}
		s.join(node)
		if node >= first+stay {
			leave := &livestreamv1.LeaveLivestreamRequest{LivestreamId: id, NodeId: node - stay}
			_, err := s.as(node-stay).LeaveLivestream(context.Background(), leave)
			check(err, "leave")
		}
		answers = append(answers, s.targets())
	}
}

func (s *story) targets() *livestreamv1.GetTargetsResponse {
	request := &livestreamv1.GetTargetsRequest{LivestreamId: id, OfNodeId: watched}
	answer, err := s.as(watched).GetTargets(context.Background(), request)
	check(err, "get targets")
	return answer
}

func (s *story) errorDetails() {
	unknown := &livestreamv1.JoinLivestreamRequest{LivestreamId: 404, NodeId: 1}
	_, err := s.as(broadcaster).JoinLivestream(context.Background(), unknown)
	info := detail[*errdetails.ErrorInfo](err)
	expect(status.Code(err) == codes.NotFound && info.GetReason() == "LIVESTREAM_NOT_FOUND", "an unknown livestream:", err)
	fmt.Printf("unknown livestream: %v, reason %s, domain %s\n", status.Code(err), info.GetReason(), info.GetDomain())
}

// detail finds one kind of google.rpc detail in the status.
func detail[D proto.Message](err error) (none D) {
	for _, any := range status.Convert(err).Details() {
		if found, is := any.(D); is {
			return found
		}
	}
	return none
}

func (s *story) deadline() {
	const node = last
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	began := time.Now()
	stream, err := s.as(node).WatchTargets(ctx, s.watch(node))
	for err == nil {
		_, err = stream.Recv()
		expect(err != nil || s.attached(node), "the watch keeps its session attached")
	}
	took := time.Since(began)
	expect(status.Code(err) == codes.DeadlineExceeded && took < time.Second, "after", took, err)
	for began = time.Now(); s.attached(node); time.Sleep(10 * time.Millisecond) {
		expect(time.Since(began) < time.Second, "the server ends its side too")
	}
	fmt.Printf("deadline of 500 ms: %v after %d ms, on the server too\n", status.Code(err), took.Milliseconds())
}

func (s *story) attached(node uint64) bool {
	list, err := s.as(broadcaster).ListViewers(context.Background(), &livestreamv1.ListViewersRequest{LivestreamId: id})
	check(err, "list viewers")
	for _, viewer := range list.GetViewers() {
		if viewer.GetNodeId() == node {
			return viewer.GetAttached()
		}
	}
	return false
}

// shutdown opens one stream of each kind, ends the server and hears how it says so.
func (s *story) shutdown(pid int) {
	ctx := context.Background()
	watch, err := s.as(watched).WatchTargets(ctx, s.watch(watched))
	check(err, "watch")
	subscription, err := s.as(subscriber).SubscribeUpdates(ctx, s.subscription(nil))
	check(err, "subscribe")
	publication, err := s.as(broadcaster).PublishUpdates(ctx)
	check(err, "publish")
	check(publication.Send(s.open()), "open")
	streams := []func() (*swarmv1.Goodbye, error){
		func() (*swarmv1.Goodbye, error) { m, err := watch.Recv(); return m.GetGoodbye(), err },
		func() (*swarmv1.Goodbye, error) { m, err := publication.Recv(); return m.GetGoodbye(), err },
		func() (*swarmv1.Goodbye, error) {
			m, err := subscription.Recv()
			var goodbye *swarmv1.Goodbye
			for _, delivery := range m.GetDeliveries() {
				goodbye = delivery.GetGoodbye()
			}
			return goodbye, err
		},
	}
	for _, recv := range streams {
		_, err := recv() // the stream is open
		check(err, "the first message")
	}
	server, err := os.FindProcess(pid)
	check(err, "the server")
	check(server.Signal(syscall.SIGTERM), "stop the server")
	for _, recv := range streams {
		var goodbye *swarmv1.Goodbye
		var err error
		for err == nil {
			var now *swarmv1.Goodbye
			if now, err = recv(); now != nil {
				goodbye = now
			}
		}
		expect(goodbye.GetReason() == swarmv1.GoodbyeReason_GOODBYE_REASON_DRAINING, "goodbye:", goodbye)
		expect(status.Code(err) == codes.Unavailable && detail[*errdetails.RetryInfo](err) != nil, "the status:", err)
	}
	fmt.Printf("stopping: goodbye DRAINING, then %v with RetryInfo, on %d streams\n", codes.Unavailable, len(streams))
}

func check(err error, doing string) {
	if err != nil {
		log.Fatalf("%s: %v", doing, err)
	}
}

func expect(holds bool, what ...any) {
	if !holds {
		log.Fatalln(append([]any{"not as expected:"}, what...)...)
	}
}
