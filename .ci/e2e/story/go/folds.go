package main

import (
	"context"
	"maps"
	"slices"
	"sync"

	livestreamv1 "starling.dev/go/starling/livestream/v1"
	swarmv1 "starling.dev/go/starling/swarm/v1"
)

// fold is what a watch comes to, by revision.
type fold[T any] struct {
	reopenings int
	news       *sync.Cond
	at         map[uint64]T
	revision   uint64
}

func newFold[T any]() *fold[T] {
	return &fold[T]{news: sync.NewCond(&sync.Mutex{}), at: map[uint64]T{}}
}

func (f *fold[T]) note(revision uint64, state T) {
	f.news.L.Lock()
	defer f.news.L.Unlock()
	f.at[revision], f.revision = state, revision
	f.news.Broadcast()
}

// reach waits until the fold is current up to a revision.
func (f *fold[T]) reach(revision uint64) {
	f.news.L.Lock()
	defer f.news.L.Unlock()
	for f.revision < revision {
		f.news.Wait()
	}
}

// foldTargets folds the targets of one viewer. A watch that is opened again begins with a snapshot.
func (s *story) foldTargets(ctx context.Context, fold *fold[*swarmv1.TargetList]) {
	for ; ; fold.reopenings++ {
		stream, err := s.as(watched).WatchTargets(ctx, s.watch(watched))
		check(err, "watch targets")
		list, goodbye := &swarmv1.TargetList{}, (*swarmv1.Goodbye)(nil)
		for {
			message, err := stream.Recv()
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				expect(planned(goodbye, err), "the watch of targets ended:", goodbye, err)
				break
			}
			switch event := message.GetEvent().(type) {
			case *livestreamv1.WatchTargetsResponse_Snapshot:
				list = sorted(event.Snapshot)
			case *livestreamv1.WatchTargetsResponse_Delta:
				gone := map[uint64]bool{}
				for _, removed := range event.Delta.GetRemoved() {
					gone[removed.GetNodeId()] = true
				}
				changed := slices.Concat(event.Delta.GetUpdated(), event.Delta.GetAdded())
				for _, target := range changed {
					gone[target.GetNodeId()] = true
				}
				kept := slices.DeleteFunc(slices.Clone(list.GetTargets()), func(target *swarmv1.Target) bool {
					return gone[target.GetNodeId()]
				})
				list = sorted(&swarmv1.TargetList{
					Topology:     event.Delta.GetTopology(),
					Placement:    event.Delta.GetPlacement(),
					Targets:      append(kept, changed...),
					Parent:       event.Delta.GetParent(),
					BackupParent: event.Delta.GetBackupParent(),
				})
			case *livestreamv1.WatchTargetsResponse_Goodbye:
				goodbye = event.Goodbye
				continue
			}
			fold.note(message.GetRevision(), list)
		}
	}
}

func sorted(list *swarmv1.TargetList) *swarmv1.TargetList {
	slices.SortFunc(list.Targets, func(a, b *swarmv1.Target) int { return int(a.GetNodeId()) - int(b.GetNodeId()) })
	return list
}

// foldRoster folds who is in, by session, and resumes at the last revision: then only what came since is told.
func (s *story) foldRoster(ctx context.Context, fold *fold[map[uint64]uint64]) {
	roster, complete := map[uint64]uint64{}, false
	var resume *swarmv1.EventPosition
	for ; ; fold.reopenings++ {
		stream, err := s.as(watched).WatchLivestream(ctx, &livestreamv1.WatchLivestreamRequest{
			LivestreamId: id,
			Kinds:        []livestreamv1.LivestreamEventKind{livestreamv1.LivestreamEventKind_LIVESTREAM_EVENT_KIND_MEMBERSHIP},
			ResumeFrom:   resume,
		})
		check(err, "watch livestream")
		var goodbye *swarmv1.Goodbye
		for {
			message, err := stream.Recv()
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				expect(planned(goodbye, err), "the watch of events ended:", goodbye, err)
				break
			}
			switch event := message.GetEvent().(type) {
			case *livestreamv1.WatchLivestreamResponse_Reset_:
				expect(resume == nil, "a reset in spite of a position")
			case *livestreamv1.WatchLivestreamResponse_Roster:
				maps.Copy(roster, sessions(event.Roster.GetViewers()))
			case *livestreamv1.WatchLivestreamResponse_SnapshotComplete:
				complete = true
			case *livestreamv1.WatchLivestreamResponse_Goodbye:
				goodbye = event.Goodbye
				continue
			}
			for _, event := range message.GetBatch().GetEvents() {
				if joined := event.GetViewerJoined().GetViewer(); joined != nil {
					roster[joined.GetNodeId()] = joined.GetSessionId()
				} else if left := event.GetViewerLeft(); left != nil {
					expect(roster[left.GetNodeId()] == left.GetSessionId(), "who left was in:", left)
					delete(roster, left.GetNodeId())
				}
			}
			if complete {
				fold.note(message.GetRevision(), maps.Clone(roster))
				resume = &swarmv1.EventPosition{Epoch: message.GetEpoch(), Revision: message.GetRevision()}
			}
		}
	}
}

func sessions(viewers []*livestreamv1.Viewer) map[uint64]uint64 {
	roster := map[uint64]uint64{}
	for _, viewer := range viewers {
		roster[viewer.GetNodeId()] = viewer.GetSessionId()
	}
	return roster
}
