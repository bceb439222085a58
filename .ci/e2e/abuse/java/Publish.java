import com.google.protobuf.ByteString;
import dev.starling.livestream.v1.*;
import dev.starling.swarm.v1.*;
import io.grpc.*;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.util.*;
import java.util.concurrent.*;

/**
 * An honest publisher that is as fast as it can be, with grpc-java and its default settings: java Publish ADDRESS PID
 * SECONDS STOP
 *
 * <p>It publishes updates of 0, 10 and 100 bytes on 1, 8 and 64 streams of one connection, SECONDS for each
 * combination, and stops the server (PID) for STOP seconds in the middle. A stream that ends before its time, an update
 * that is refused or not acknowledged ends it.
 */
public final class Publish {
    private static final long BROADCASTER = 1;
    private static final UpdateChannel CHANNEL = UpdateChannel.UPDATE_CHANNEL_DATA;
    private static long livestreams; // that were created

    public static void main(String[] arguments) throws Exception {
        long publishing = (long) (Double.parseDouble(arguments[2]) * 1e9);
        long stopped = (long) (Double.parseDouble(arguments[3]) * 1e3);
        for (int payload : new int[] {0, 10, 100}) {
            for (int streams : new int[] {1, 8, 64}) {
                ManagedChannel connection =
                        Grpc.newChannelBuilder(arguments[0], InsecureChannelCredentials.create()).build();
                long updates = publish(connection, arguments[1], payload, streams, publishing, stopped);
                connection.shutdown();
                System.out.printf("%d bytes, %d streams: %d updates, all acknowledged%n", payload, streams, updates);
            }
        }
    }

    /** Publishes on so many streams of a connection; how many updates. */
    private static long publish(
            ManagedChannel connection, String pid, int payload, int streams, long publishing, long stopped)
            throws Exception {
        List<Stream> all = new ArrayList<>();
        for (int number = 0; number < streams; number++) {
            all.add(new Stream(connection, ++livestreams, payload));
        }
        for (Stream stream : all) {
            stream.opened.get();
        }
        long until = System.nanoTime() + publishing;
        ExecutorService pool = Executors.newCachedThreadPool();
        List<Future<Long>> sent = new ArrayList<>();
        for (Stream stream : all) {
            sent.add(pool.submit(() -> stream.publish(until)));
        }
        TimeUnit.NANOSECONDS.sleep(publishing / 2);
        signal("-STOP", pid);
        Thread.sleep(stopped);
        signal("-CONT", pid);
        long updates = 0;
        for (Future<Long> each : sent) {
            updates += each.get();
        }
        pool.shutdown();
        return updates;
    }

    private static void signal(String signal, String pid) throws Exception {
        if (new ProcessBuilder("kill", signal, pid).start().waitFor() != 0) {
            throw new AssertionError("cannot signal the server");
        }
    }

    /** A publish stream into a livestream of its own. */
    private static final class Stream implements ClientResponseObserver<PublishUpdatesRequest, PublishUpdatesResponse> {
        final CompletableFuture<Void> opened = new CompletableFuture<>();
        private final CompletableFuture<Void> over = new CompletableFuture<>();
        private final Semaphore ready = new Semaphore(0);
        private final int payload;
        private ClientCallStreamObserver<PublishUpdatesRequest> requests;
        private volatile long through; // what was acknowledged

        Stream(ManagedChannel connection, long id, int payload) {
            this.payload = payload;
            LivestreamServiceGrpc.LivestreamServiceBlockingStub stub = LivestreamServiceGrpc.newBlockingStub(connection);
            stub.createLivestream(CreateLivestreamRequest.newBuilder().setLivestreamId(id).setNodeId(BROADCASTER).build());
            stub.startLivestream(StartLivestreamRequest.newBuilder().setLivestreamId(id).setNodeId(BROADCASTER).build());
            long session = stub.joinLivestream(
                    JoinLivestreamRequest.newBuilder().setLivestreamId(id).setNodeId(BROADCASTER).build()).getSessionId();
            LivestreamServiceGrpc.newStub(connection).publishUpdates(this);
            requests.onNext(PublishUpdatesRequest.newBuilder()
                    .setOpen(PublishOpen.newBuilder()
                            .setLivestreamId(id).setNodeId(BROADCASTER).setSessionId(session).addChannels(CHANNEL))
                    .build());
        }

        /** Publishes until the time is over and all is acknowledged; how many updates. */
        long publish(long until) throws Exception {
            ByteString bytes = ByteString.copyFrom(new byte[payload]);
            long sent = 0;
            while (System.nanoTime() < until && !over.isDone()) {
                if (!requests.isReady()) {
                    // Tells of every change, so an old permit does no harm.
                    ready.tryAcquire(10, TimeUnit.MILLISECONDS);
                    continue;
                }
                sent++;
                requests.onNext(PublishUpdatesRequest.newBuilder()
                        .setUpdate(UpdateDraft.newBuilder()
                                .setChannel(CHANNEL).setPayload(bytes).setPublisherSequence(sent))
                        .build());
            }
            if (!over.isDone()) {
                requests.onCompleted();
            }
            try {
                over.get();
            } catch (ExecutionException ended) {
                throw new AssertionError(
                        payload + " bytes, after " + sent + " updates, " + through + " acknowledged: " + ended.getCause());
            }
            if (through != sent) {
                throw new AssertionError(sent + " updates of " + payload + " bytes: " + through + " acknowledged");
            }
            return sent;
        }

        @Override public void beforeStart(ClientCallStreamObserver<PublishUpdatesRequest> requests) {
            this.requests = requests;
            requests.setOnReadyHandler(ready::release);
        }

        @Override public void onNext(PublishUpdatesResponse answer) {
            switch (answer.getEventCase()) {
                case OPENED -> opened.complete(null);
                case ACK -> through = answer.getAck().getChannels(0).getAcceptedThrough();
                case REJECTED, REVOKED, GOODBYE ->
                    over.completeExceptionally(new AssertionError("the server says " + answer));
                default -> { } // Demand, Heartbeat, KeyframeRequest, Skips
            }
        }

        @Override public void onError(Throwable ended) {
            opened.completeExceptionally(ended);
            over.completeExceptionally(ended);
        }

        @Override public void onCompleted() {
            over.complete(null);
        }
    }
}
