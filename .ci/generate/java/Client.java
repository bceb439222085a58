import com.google.protobuf.ByteString;
import dev.starling.livestream.v1.*;
import dev.starling.swarm.v1.*;
import io.grpc.*;
import io.grpc.stub.*;
import java.util.*;

/** What everybody writes first, beside the imports of gRPC. */
public final class Client {
    public static void main(String[] arguments) {
        ManagedChannel connection =
                Grpc.newChannelBuilder(arguments[0], InsecureChannelCredentials.create()).build();
        try {
            talk(LivestreamServiceGrpc.newBlockingStub(connection));
        } catch (StatusRuntimeException refused) {
            Status.Code code = refused.getStatus().getCode();
            System.err.println(code);
        } finally {
            connection.shutdownNow();
        }
    }

    static void talk(LivestreamServiceGrpc.LivestreamServiceBlockingStub stub) {
        JoinLivestreamResponse joined = stub.joinLivestream(JoinLivestreamRequest.newBuilder()
                .setLivestreamId(7)
                .setNodeId(2)
                .setMode(ViewerMode.VIEWER_MODE_ACTIVE)
                .build());
        stub.publishUpdate(PublishUpdateRequest.newBuilder()
                .setLivestreamId(7)
                .setNodeId(2)
                .setSessionId(joined.getSessionId())
                .setUpdate(UpdateDraft.newBuilder()
                        .setChannel(UpdateChannel.UPDATE_CHANNEL_CHAT)
                        .setPayload(ByteString.copyFromUtf8("hello")))
                .build());
        Iterator<SubscribeUpdatesResponse> updates = stub.subscribeUpdates(SubscribeUpdatesRequest.newBuilder()
                .setLivestreamId(7)
                .setNodeId(2)
                .setSessionId(joined.getSessionId())
                .build());
        while (updates.hasNext()) {
            for (Delivery delivery : updates.next().getDeliveriesList()) {
                if (delivery.getItemCase() == Delivery.ItemCase.UPDATE) {
                    System.out.println(delivery.getUpdate().getPayload().size() + " bytes");
                }
            }
        }
    }

    /** The same on a stream that answers by callbacks. */
    static StreamObserver<PublishUpdatesRequest> publish(
            LivestreamServiceGrpc.LivestreamServiceStub stub, StreamObserver<PublishUpdatesResponse> answers) {
        return stub.publishUpdates(answers);
    }
}
