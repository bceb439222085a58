import com.google.protobuf.Duration;
import com.google.protobuf.Message;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.starling.livestream.v1.*;
import dev.starling.swarm.v1.*;
import io.grpc.*;
import io.grpc.protobuf.StatusProto;
import java.util.*;
import java.util.concurrent.*;

/**
 * The story of an ordinary client, with grpc-java and its default settings: java Story ADDRESS PID
 *
 * <p>It creates a livestream, joins it with 20 viewers, folds what is watched under churn, publishes 600 updates and
 * receives them across the ages of streams and connections, reads the details of an error, sets a deadline, and tells
 * the server (PID) to stop. Any surprise ends it. With STORY_TRUST all of that is over TLS, each node with a token of
 * its own that ends within seconds.
 */
public final class Story {
    static final int UPDATES = 600;
    static final int PER_SECOND = 30;
    static final long ID = 7;
    static final long BROADCASTER = 1;
    static final long WATCHED = 2;
    static final long SUBSCRIBER = 3;
    static final long LAST = 21; // the viewers are 2..21

    private final LivestreamServiceGrpc.LivestreamServiceBlockingStub blocking;
    private final LivestreamServiceGrpc.LivestreamServiceStub asynchronous;
    final ServerLimits limits;
    final Map<Long, Long> sessions; // by node
    volatile boolean begun; // the subscriber has the first update

    private Story(ManagedChannel connection, Map<Long, Long> sessions) {
        this.sessions = sessions;
        blocking = LivestreamServiceGrpc.newBlockingStub(connection);
        asynchronous = LivestreamServiceGrpc.newStub(connection);
        limits = Trust.as(BROADCASTER, ServerServiceGrpc.newBlockingStub(connection))
                .getServerInfo(GetServerInfoRequest.getDefaultInstance()).getLimits();
    }

    /** Calls as this node. */
    LivestreamServiceGrpc.LivestreamServiceBlockingStub stub(long node) {
        return Trust.as(node, blocking);
    }

    LivestreamServiceGrpc.LivestreamServiceStub async(long node) {
        return Trust.as(node, asynchronous);
    }

    public static void main(String[] arguments) throws Exception {
        ManagedChannel connection = Trust.connect(arguments[0]);
        Story story = new Story(connection, new HashMap<>());
        story.begin();
        story.liveThrough();
        story.errorDetails();
        if (Trust.isAsked()) {
            story.refusals();
        }
        connection.shutdownNow();
        // The rest over a new connection: the old one might reach its age just then, which ends streams otherwise.
        connection = Trust.connect(arguments[0]);
        story = new Story(connection, story.sessions);
        story.deadline();
        story.shutdown(Long.parseLong(arguments[1]));
        connection.shutdownNow();
    }

    private void begin() {
        LivestreamConfig config = LivestreamConfig.newBuilder()
                .setStarToTreeThreshold(10) // a tree with several levels, so that viewers have targets
                .setTreeFanout(3)
                .setMaxLag(seconds(60)) // on a busy machine nobody is to skip ahead
                .build();
        stub(BROADCASTER).createLivestream(CreateLivestreamRequest.newBuilder()
                .setLivestreamId(ID).setNodeId(BROADCASTER).setConfig(config).build());
        stub(BROADCASTER).startLivestream(
                StartLivestreamRequest.newBuilder().setLivestreamId(ID).setNodeId(BROADCASTER).build());
        for (long node = BROADCASTER; node <= LAST; node++) {
            sessions.put(node, join(ID, node).getSessionId());
        }
        System.out.printf("created, started, %d viewers and the broadcaster joined%n", LAST - BROADCASTER);
    }

    private JoinLivestreamResponse join(long livestream, long node) {
        return stub(node).joinLivestream(JoinLivestreamRequest.newBuilder()
                .setLivestreamId(livestream)
                .setNodeId(node)
                .setLeaseTtl(seconds(300)) // most of the viewers open no stream
                .build());
    }

    /** Publishes and receives, while viewers come and go and two watches are folded. */
    private void liveThrough() throws Exception {
        Folds.Targets targets = new Folds.Targets(this);
        Folds.Roster roster = new Folds.Roster(this);
        Publication publication = new Publication(this);
        ExecutorService pool = Executors.newCachedThreadPool();
        Future<?> folds = pool.submit(surely(targets));
        Future<?> events = pool.submit(surely(roster));
        Future<Integer> received = pool.submit(surely(this::subscribe));
        Future<Integer> published = pool.submit(surely(publication));
        List<GetTargetsResponse> answers = churn(() -> received.isDone() && published.isDone());
        System.out.printf("published %d of %d: %d reopenings, %d carried over%n",
                UPDATES, UPDATES, published.get(), publication.carried);
        expect(!Trust.isAsked() || Math.min(published.get(), received.get()) > 1, "streams end with their tokens");
        System.out.printf("received %d of %d in order, without a gap: %d resumes%n", UPDATES, UPDATES, received.get());

        // Nothing changes any more. The next heartbeat tells the folds that they are current.
        answers.add(targets());
        targets.reach(answers.get(answers.size() - 1).getRevision());
        ListViewersResponse list = viewers();
        roster.reach(list.getRevision());
        targets.stop();
        roster.stop();
        folds.get();
        events.get();
        pool.shutdown();
        answers.removeIf(answer -> !targets.at.containsKey(answer.getRevision()));
        for (GetTargetsResponse answer : answers) {
            expect(targets.at.get(answer.getRevision()).equals(Folds.sorted(answer.getTargets())), "folded: " + answer);
        }
        System.out.printf("targets: %d messages folded, equal to GetTargets at %d revisions: %d reopenings%n",
                targets.at.size(), answers.size(), targets.reopenings);
        expect(roster.at.get(list.getRevision()).equals(Folds.sessions(list.getViewersList())), "folded: " + list);
        System.out.printf("roster: %d messages folded, equal to ListViewers: %d resumes%n",
                roster.at.size(), roster.reopenings);
    }

    /** Has viewers come and go until the rest is done, and asks each time for what the fold should be. */
    private List<GetTargetsResponse> churn(Callable<Boolean> done) throws Exception {
        final long first = 100;
        final long stay = 5;
        List<GetTargetsResponse> answers = new ArrayList<>();
        for (long node = first; !done.call(); node++) {
            join(ID, node);
            if (node >= first + stay) {
                stub(node - stay).leaveLivestream(
                        LeaveLivestreamRequest.newBuilder().setLivestreamId(ID).setNodeId(node - stay).build());
            }
            answers.add(targets());
            Thread.sleep(100);
        }
        return answers;
    }

    private GetTargetsResponse targets() {
        return stub(WATCHED)
                .getTargets(GetTargetsRequest.newBuilder().setLivestreamId(ID).setOfNodeId(WATCHED).build());
    }

    private ListViewersResponse viewers() {
        return stub(BROADCASTER).listViewers(ListViewersRequest.newBuilder().setLivestreamId(ID).build());
    }

    WatchTargetsRequest watch(long node) {
        return WatchTargetsRequest.newBuilder()
                .setLivestreamId(ID).setNodeId(node).setSessionId(sessions.get(node)).setOfNodeId(node).build();
    }

    private SubscribeUpdatesRequest.Builder subscription() {
        return SubscribeUpdatesRequest.newBuilder()
                .setLivestreamId(ID)
                .setNodeId(SUBSCRIBER)
                .setSessionId(sessions.get(SUBSCRIBER))
                .addChannels(UpdateChannel.UPDATE_CHANNEL_VISUAL);
    }

    /** Receives the updates, and resumes at the last position whenever a stream ends of its age. Tells how often. */
    private int subscribe() throws Exception {
        SubscribeUpdatesRequest.Builder request = subscription();
        int next = 1;
        for (int resumes = 0; ; resumes++) {
            Goodbye goodbye = Goodbye.getDefaultInstance();
            // The iterator of a blocking stub has no end of its own: the context ends the call.
            Context.CancellableContext context = Context.current().withCancellation();
            try {
                Iterator<SubscribeUpdatesResponse> answers =
                        context.call(() -> stub(SUBSCRIBER).subscribeUpdates(request.build()));
                while (next <= UPDATES) {
                    for (Delivery item : answers.next().getDeliveriesList()) {
                        switch (item.getItemCase()) {
                            case SUBSCRIBED -> {
                                // Without positions: what waits for its first keyframe has none yet.
                                request.getResumeFromBuilder().setEpoch(item.getSubscribed().getEpoch());
                            }
                            case UPDATE -> {
                                String payload = item.getUpdate().getPayload().toStringUtf8();
                                expect(payload.equals(Publication.payload(next)), next + " is " + item);
                                request.getResumeFromBuilder().clearPositions()
                                        .addPositions(item.getUpdate().getPosition());
                                begun = true;
                                next++;
                            }
                            case GAP -> expect(false, "a gap: " + item);
                            case GOODBYE -> goodbye = item.getGoodbye();
                            default -> { } // Filter, Heartbeat
                        }
                    }
                }
                return resumes;
            } catch (StatusRuntimeException ended) {
                expect(Trust.planned(goodbye, ended), "the subscription ended: " + goodbye + ended);
            } finally {
                context.cancel(null);
            }
        }
    }

    private void errorDetails() {
        try {
            join(404, 1);
            expect(false, "joined an unknown livestream");
        } catch (StatusRuntimeException refused) {
            ErrorInfo info = detail(refused, ErrorInfo.class);
            expect(refused.getStatus().getCode() == Status.Code.NOT_FOUND && info != null
                    && info.getReason().equals("LIVESTREAM_NOT_FOUND"), "an unknown livestream: " + refused);
            System.out.printf("unknown livestream: %s, reason %s, domain %s%n",
                    refused.getStatus().getCode(), info.getReason(), info.getDomain());
        }
    }

    /** Shows a token that counts for nothing, and asks for what a viewer may not do. */
    private void refusals() {
        refused(Status.Code.UNAUTHENTICATED, "TOKEN_INVALID", () -> Trust.as("wrong", blocking)
                .getLivestream(GetLivestreamRequest.newBuilder().setLivestreamId(ID).build()));
        UpdateDraft update = UpdateDraft.newBuilder()
                .setChannel(UpdateChannel.UPDATE_CHANNEL_VISUAL)
                .setPayload(com.google.protobuf.ByteString.copyFromUtf8("not mine"))
                .build();
        refused(Status.Code.PERMISSION_DENIED, "NOT_GRANTED", () -> stub(SUBSCRIBER)
                .publishUpdate(PublishUpdateRequest.newBuilder().setLivestreamId(ID).setUpdate(update).build()));
        refused(Status.Code.PERMISSION_DENIED, "NOT_YOUR_NODE", () -> stub(SUBSCRIBER)
                .leaveLivestream(LeaveLivestreamRequest.newBuilder().setLivestreamId(ID).setNodeId(WATCHED).build()));
        System.out.println("refused: a wrong token, a viewer that publishes, one that acts for another");
    }

    private static void refused(Status.Code code, String reason, Runnable call) {
        try {
            call.run();
        } catch (StatusRuntimeException error) {
            ErrorInfo info = detail(error, ErrorInfo.class);
            expect(error.getStatus().getCode() == code && info != null && info.getReason().equals(reason),
                    reason + " is " + error);
            return;
        }
        throw new AssertionError(reason + " is an answer");
    }

    /** One kind of google.rpc detail of a status; null when it is not there. */
    private static <D extends Message> D detail(Throwable error, Class<D> kind) {
        try {
            for (com.google.protobuf.Any packed : StatusProto.fromThrowable(error).getDetailsList()) {
                if (packed.is(kind)) {
                    return packed.unpack(kind);
                }
            }
        } catch (com.google.protobuf.InvalidProtocolBufferException malformed) {
            throw new AssertionError(malformed);
        }
        return null;
    }

    private void deadline() {
        long began = System.nanoTime();
        try {
            Iterator<?> watch = stub(LAST).withDeadlineAfter(500, TimeUnit.MILLISECONDS).watchTargets(watch(LAST));
            while (watch.hasNext()) {
                watch.next();
                expect(attached(LAST), "the watch keeps its session attached");
            }
            expect(false, "the watch ended with OK");
        } catch (StatusRuntimeException ended) {
            long took = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - began);
            expect(ended.getStatus().getCode() == Status.Code.DEADLINE_EXCEEDED && took < 1000, took + " ms: " + ended);
            while (attached(LAST)) {
                expect(System.nanoTime() - began < 2_000_000_000L, "the server ends its side too");
            }
            System.out.printf("deadline of 500 ms: DEADLINE_EXCEEDED after %d ms, on the server too%n", took);
        }
    }

    private boolean attached(long node) {
        return viewers().getViewersList().stream().anyMatch(v -> v.getNodeId() == node && v.getAttached());
    }

    /** Opens one stream of each kind, ends the server and hears how it says so. */
    private void shutdown(long pid) throws Exception {
        List<Ending<?>> streams = new ArrayList<>();
        Ending<WatchTargetsResponse> watch = new Ending<>(WatchTargetsResponse::getGoodbye);
        async(WATCHED).watchTargets(watch(WATCHED), watch);
        Ending<SubscribeUpdatesResponse> subscription =
                new Ending<>(answer -> answer.getDeliveries(answer.getDeliveriesCount() - 1).getGoodbye());
        async(SUBSCRIBER).subscribeUpdates(subscription().build(), subscription);
        Ending<PublishUpdatesResponse> publication = new Ending<>(PublishUpdatesResponse::getGoodbye);
        async(BROADCASTER).publishUpdates(publication).onNext(Publication.open(this));
        Collections.addAll(streams, watch, subscription, publication);
        for (Ending<?> stream : streams) {
            stream.open.await();
        }
        ProcessHandle.of(pid).orElseThrow().destroy(); // SIGTERM
        for (Ending<?> stream : streams) {
            Throwable ended = stream.end.get();
            expect(stream.goodbye.getReason() == GoodbyeReason.GOODBYE_REASON_DRAINING, "goodbye: " + stream.goodbye);
            expect(Status.fromThrowable(ended).getCode() == Status.Code.UNAVAILABLE, "the status: " + ended);
            expect(detail(ended, RetryInfo.class) != null, "says when to come back: " + ended);
        }
        System.out.printf("stopping: goodbye DRAINING, then UNAVAILABLE with RetryInfo, on %d streams%n",
                streams.size());
    }

    /** For threads: a surprise in one ends the whole program. */
    private static <T> Callable<T> surely(Callable<T> work) {
        return () -> {
            try {
                return work.call();
            } catch (Throwable surprise) {
                surprise.printStackTrace();
                Runtime.getRuntime().halt(1);
                throw surprise;
            }
        };
    }

    static void expect(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    private static Duration seconds(int seconds) {
        return Duration.newBuilder().setSeconds(seconds).build();
    }
}
