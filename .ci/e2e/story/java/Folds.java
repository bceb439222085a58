import dev.starling.livestream.v1.*;
import dev.starling.swarm.v1.*;
import io.grpc.Context;
import io.grpc.StatusRuntimeException;
import java.util.*;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** What watches come to: their messages folded, and opened again when a stream ends of its age. */
final class Folds {
    private Folds() {}

    /** The state at each revision that a message named. */
    abstract static class Fold<M, S> implements Callable<Void> {
        final Map<Long, S> at = new HashMap<>();
        int reopenings;
        private long revision;
        private boolean stopped;
        private final Context.CancellableContext context = Context.current().withCancellation();

        abstract Iterator<M> open();

        abstract Goodbye goodbye(M message);

        abstract long revision(M message);

        /** Answers with the state, or null while it is not complete. */
        abstract S fold(M message);

        @Override public Void call() throws Exception {
            while (true) {
                Goodbye goodbye = Goodbye.getDefaultInstance();
                try {
                    Iterator<M> messages = context.call(this::open);
                    while (messages.hasNext()) {
                        M message = messages.next();
                        goodbye = goodbye(message);
                        if (goodbye.getReason() == GoodbyeReason.GOODBYE_REASON_UNSPECIFIED) {
                            note(revision(message), fold(message));
                        }
                    }
                    throw new AssertionError("the watch ended");
                } catch (StatusRuntimeException ended) {
                    synchronized (this) {
                        if (stopped) {
                            return null;
                        }
                    }
                    Story.expect(Trust.planned(goodbye, ended), "the watch ended: " + goodbye + ended);
                    reopenings++;
                }
            }
        }

        private synchronized void note(long revision, S state) {
            if (state != null) {
                at.put(revision, state);
                this.revision = revision;
                notifyAll();
            }
        }

        /** Waits until the fold is current up to a revision. */
        synchronized void reach(long revision) throws InterruptedException {
            while (this.revision < revision) {
                wait();
            }
        }

        synchronized void stop() {
            stopped = true;
            context.cancel(null);
        }
    }

    /** The targets of one viewer. A watch that is opened again begins with a snapshot. */
    static final class Targets extends Fold<WatchTargetsResponse, TargetList> {
        private final Story story;
        private TargetList list;

        Targets(Story story) {
            this.story = story;
        }

        @Override Iterator<WatchTargetsResponse> open() {
            return story.stub(Story.WATCHED).watchTargets(story.watch(Story.WATCHED));
        }

        @Override Goodbye goodbye(WatchTargetsResponse message) {
            return message.getGoodbye();
        }

        @Override long revision(WatchTargetsResponse message) {
            return message.getRevision();
        }

        @Override TargetList fold(WatchTargetsResponse message) {
            if (message.hasSnapshot()) {
                list = sorted(message.getSnapshot());
            } else if (message.hasDelta()) {
                TargetDelta delta = message.getDelta();
                Map<Long, Target> targets = new HashMap<>();
                list.getTargetsList().forEach(target -> targets.put(target.getNodeId(), target));
                delta.getRemovedList().forEach(removed -> targets.remove(removed.getNodeId()));
                Stream.concat(delta.getUpdatedList().stream(), delta.getAddedList().stream())
                        .forEach(target -> targets.put(target.getNodeId(), target));
                TargetList.Builder changed =
                        TargetList.newBuilder().setTopology(delta.getTopology()).addAllTargets(targets.values());
                if (delta.hasPlacement()) {
                    changed.setPlacement(delta.getPlacement());
                }
                if (delta.hasParent()) {
                    changed.setParent(delta.getParent());
                }
                if (delta.hasBackupParent()) {
                    changed.setBackupParent(delta.getBackupParent());
                }
                list = sorted(changed.build());
            }
            return list;
        }
    }

    /** Who is in, by session. A watch that is opened again resumes at the last revision. */
    static final class Roster extends Fold<WatchLivestreamResponse, Map<Long, Long>> {
        private final Story story;
        private final Map<Long, Long> sessions = new HashMap<>();
        private final WatchLivestreamRequest.Builder request = WatchLivestreamRequest.newBuilder()
                .setLivestreamId(Story.ID)
                .addKinds(LivestreamEventKind.LIVESTREAM_EVENT_KIND_MEMBERSHIP);

        Roster(Story story) {
            this.story = story;
        }

        @Override Iterator<WatchLivestreamResponse> open() {
            return story.stub(Story.WATCHED).watchLivestream(request.build());
        }

        @Override Goodbye goodbye(WatchLivestreamResponse message) {
            return message.getGoodbye();
        }

        @Override long revision(WatchLivestreamResponse message) {
            return message.getRevision();
        }

        @Override Map<Long, Long> fold(WatchLivestreamResponse message) {
            Story.expect(!message.hasReset() || !request.hasResumeFrom(), "a reset in spite of a position");
            sessions.putAll(Folds.sessions(message.getRoster().getViewersList()));
            for (LivestreamEvent event : message.getBatch().getEventsList()) {
                if (event.hasViewerJoined()) {
                    Viewer joined = event.getViewerJoined().getViewer();
                    sessions.put(joined.getNodeId(), joined.getSessionId());
                } else if (event.hasViewerLeft()) {
                    MemberLeft left = event.getViewerLeft();
                    Story.expect(sessions.remove(left.getNodeId(), left.getSessionId()), "was in: " + left);
                }
            }
            // Only a complete state can be resumed from.
            if (!message.hasSnapshotComplete() && !request.hasResumeFrom()) {
                return null;
            }
            request.getResumeFromBuilder().setEpoch(message.getEpoch()).setRevision(message.getRevision());
            return Map.copyOf(sessions);
        }
    }

    static TargetList sorted(TargetList list) {
        List<Target> targets = new ArrayList<>(list.getTargetsList());
        targets.sort(Comparator.comparingLong(Target::getNodeId));
        return list.toBuilder().clearTargets().addAllTargets(targets).build();
    }

    static Map<Long, Long> sessions(List<Viewer> viewers) {
        return viewers.stream().collect(Collectors.toMap(Viewer::getNodeId, Viewer::getSessionId));
    }
}
