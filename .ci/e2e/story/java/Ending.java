import dev.starling.swarm.v1.Goodbye;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.function.Function;

/** Reads a stream to its end. */
final class Ending<M> implements StreamObserver<M> {
    final CountDownLatch open = new CountDownLatch(1);
    final CompletableFuture<Throwable> end = new CompletableFuture<>();
    private final Function<M, Goodbye> goodbyeOf;
    volatile Goodbye goodbye;

    Ending(Function<M, Goodbye> goodbyeOf) {
        this.goodbyeOf = goodbyeOf;
    }

    @Override public void onNext(M message) {
        goodbye = goodbyeOf.apply(message);
        open.countDown();
    }

    @Override public void onError(Throwable error) {
        end.complete(error);
    }

    @Override public void onCompleted() {
        end.complete(Status.OK.asException());
    }
}
