import com.google.protobuf.ByteString;
import dev.starling.livestream.v1.*;
import dev.starling.swarm.v1.*;
import io.grpc.stub.StreamObserver;
import java.util.*;
import java.util.concurrent.*;

/**
 * Sends the updates at an even pace, each under its number. What is not acknowledged is kept, and sent again on the
 * next stream unless the server says there that it has it.
 */
final class Publication implements Callable<Integer> {
    private final Story story;
    private final List<UpdateDraft> kept = new ArrayList<>();
    private StreamObserver<PublishUpdatesRequest> requests; // of the stream that is open
    private int sent;
    private boolean keyframe;
    int carried;

    Publication(Story story) {
        this.story = story;
    }

    static String payload(int number) {
        return "update " + number;
    }

    static PublishUpdatesRequest open(Story story) {
        return PublishUpdatesRequest.newBuilder()
                .setOpen(PublishOpen.newBuilder()
                        .setLivestreamId(Story.ID)
                        .setNodeId(Story.BROADCASTER)
                        .setSessionId(story.sessions.get(Story.BROADCASTER))
                        .addChannels(UpdateChannel.UPDATE_CHANNEL_VISUAL))
                .build();
    }

    /** Answers with how often the stream was opened again. */
    @Override public Integer call() throws Exception {
        ScheduledExecutorService clock = Executors.newSingleThreadScheduledExecutor();
        clock.scheduleAtFixedRate(this::next, 0, 1_000_000 / Story.PER_SECOND, TimeUnit.MICROSECONDS);
        int reopenings = 0;
        while (!stream().get()) {
            reopenings++;
        }
        clock.shutdown();
        return reopenings;
    }

    private synchronized void next() {
        // Whoever has no position yet begins at the newest keyframe: let that be the first update.
        if (sent == Story.UPDATES || sent == 1 && !story.begun) {
            return;
        }
        sent++;
        UpdateDraft draft = UpdateDraft.newBuilder()
                .setChannel(UpdateChannel.UPDATE_CHANNEL_VISUAL)
                .setPayload(ByteString.copyFromUtf8(payload(sent)))
                .setPublisherSequence(sent)
                .build();
        kept.add(draft);
        if (requests != null) {
            send(draft);
        }
    }

    private void send(UpdateDraft draft) {
        requests.onNext(PublishUpdatesRequest.newBuilder()
                .setUpdate(draft.toBuilder().setKeyframe(keyframe)).build());
        keyframe = false;
    }

    /** One stream; true when everything was acknowledged. */
    private synchronized Future<Boolean> stream() {
        CompletableFuture<Boolean> over = new CompletableFuture<>();
        Answers answers = new Answers(over);
        answers.stream = story.async(Story.BROADCASTER).publishUpdates(answers);
        answers.stream.onNext(open(story));
        return over;
    }

    private final class Answers implements StreamObserver<PublishUpdatesResponse> {
        private final CompletableFuture<Boolean> over;
        StreamObserver<PublishUpdatesRequest> stream;
        private Goodbye goodbye = Goodbye.getDefaultInstance();

        Answers(CompletableFuture<Boolean> over) {
            this.over = over;
        }

        @Override public void onNext(PublishUpdatesResponse answer) {
            synchronized (Publication.this) {
                hear(answer);
                if (sent == Story.UPDATES && kept.isEmpty() && over.complete(true)) {
                    stream.onCompleted();
                }
            }
        }

        private void hear(PublishUpdatesResponse answer) {
            switch (answer.getEventCase()) {
                case OPENED -> {
                    GrantedChannel granted = answer.getOpened().getChannels(0);
                    // An exception here would end the stream, and nobody would be told.
                    if (granted.getMaxPayloadBytes() != story.limits.getMaxPayloadBytes()) {
                        over.completeExceptionally(new AssertionError("the largest payload: " + granted));
                    }
                    acknowledged(granted.getLastPublisherSequence());
                    keyframe = granted.getKeyframeWanted();
                    carried += kept.size();
                    requests = stream;
                    kept.forEach(Publication.this::send);
                }
                case ACK -> acknowledged(answer.getAck().getChannels(0).getAcceptedThrough());
                case KEYFRAME_REQUEST -> keyframe = true;
                case GOODBYE -> goodbye = answer.getGoodbye();
                case REJECTED, REVOKED -> over.completeExceptionally(new AssertionError("the server says " + answer));
                default -> { } // Demand, Heartbeat, Skips
            }
        }

        private void acknowledged(long through) {
            kept.removeIf(draft -> draft.getPublisherSequence() <= through);
        }

        @Override public void onError(Throwable ended) {
            synchronized (Publication.this) {
                requests = null;
                if (Trust.planned(goodbye, ended)) {
                    over.complete(false);
                } else {
                    over.completeExceptionally(ended);
                }
            }
        }

        @Override public void onCompleted() {
            over.completeExceptionally(new AssertionError("the publish stream ended"));
        }
    }
}
