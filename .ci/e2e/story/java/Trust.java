import dev.starling.swarm.v1.Goodbye;
import dev.starling.swarm.v1.GoodbyeReason;
import io.grpc.*;
import io.grpc.stub.AbstractStub;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Executor;

/** The authority that vouches for the server, and the tokens; without the directory STORY_TRUST neither is needed. */
final class Trust {
    private static final String DIRECTORY = System.getenv("STORY_TRUST");
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    private Trust() {}

    static boolean isAsked() {
        return DIRECTORY != null;
    }

    static ManagedChannel connect(String address) {
        try {
            ChannelCredentials credentials = isAsked()
                    ? TlsChannelCredentials.newBuilder().trustManager(Path.of(DIRECTORY, "ca.pem").toFile()).build()
                    : InsecureChannelCredentials.create();
            return Grpc.newChannelBuilder(address, credentials).build();
        } catch (IOException unreadable) {
            throw new UncheckedIOException(unreadable);
        }
    }

    /** Calls as this node. Who only comes and goes is vouched for by a back-end, as one token of many. */
    static <S extends AbstractStub<S>> S as(long node, S stub) {
        return as(node <= Story.SUBSCRIBER ? Long.toString(node) : "crowd", stub);
    }

    /** Calls with the token of this name. */
    static <S extends AbstractStub<S>> S as(String name, S stub) {
        return isAsked() ? stub.withCallCredentials(new TokenFile(Path.of(DIRECTORY, name + ".jwt"))) : stub;
    }

    /** Whether a stream ended of its age: the same server goes on at once. With a token it is the token's age. */
    static boolean planned(Goodbye goodbye, Throwable error) {
        GoodbyeReason reason =
                isAsked() ? GoodbyeReason.GOODBYE_REASON_TOKEN_EXPIRED : GoodbyeReason.GOODBYE_REASON_STREAM_AGE;
        Status.Code code = isAsked() ? Status.Code.UNAUTHENTICATED : Status.Code.UNAVAILABLE;
        return goodbye.getReason() == reason && Status.fromThrowable(error).getCode() == code;
    }

    /** A token in a file, which is read for each call: others replace it meanwhile. */
    private static final class TokenFile extends CallCredentials {
        private final Path file;

        TokenFile(Path file) {
            this.file = file;
        }

        @Override public void applyRequestMetadata(RequestInfo call, Executor executor, MetadataApplier applier) {
            executor.execute(() -> {
                try {
                    Metadata metadata = new Metadata();
                    metadata.put(AUTHORIZATION, "Bearer " + Files.readString(file).strip());
                    applier.apply(metadata);
                } catch (IOException unreadable) {
                    applier.fail(Status.UNAUTHENTICATED.withCause(unreadable));
                }
            });
        }
    }
}
