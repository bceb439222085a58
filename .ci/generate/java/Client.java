import com.google.protobuf.ByteString;
import dev.starling.livestream.v1.*;
import dev.starling.swarm.v1.*;
import io.grpc.*;
import io.grpc.stub.*;
import java.util.*;

/** What everybody writes first, beside the imports of gRPC. docs/clients/first-lines.md shows it. */
public final class Client {
    public static void main(String[] arguments) {
        ManagedChannel connection =
                Grpc.newChannelBuilder(arguments[0], InsecureChannelCredentials.create()).build();
        try {
            publish(LivestreamServiceGrpc.newStub(connection));
            watch(LivestreamServiceGrpc.newBlockingStub(connection));
        } catch (StatusRuntimeException refused) {
            Status.Code code = refused.getStatus().getCode();
            System.err.println(code);
        } finally {
            connection.shutdownNow();
        }
    }

    static void watch(LivestreamServiceGrpc.LivestreamServiceBlockingStub stub) {
        JoinLivestreamResponse joined = stub.joinLivestream(
                JoinLivestreamRequest.newBuilder().setLivestreamId(7).setNodeId(2).build());
        System.out.println(joined.getLivestream().getState());
        Iterator<SubscribeUpdatesResponse> updates = stub.subscribeUpdates(SubscribeUpdatesRequest.newBuilder()
                .setLivestreamId(7).setNodeId(2).setSessionId(joined.getSessionId()).build());
        while (updates.hasNext()) {
            for (Delivery delivery : updates.next().getDeliveriesList()) {
                if (delivery.hasUpdate()) {
                    System.out.println(delivery.getUpdate().getPayload().size() + " bytes");
                }
            }
        }
    }

    static void publish(LivestreamServiceGrpc.LivestreamServiceStub stub) {
        StreamObserver<PublishUpdatesRequest> stream = stub.publishUpdates(new StreamObserver<>() {
            @Override public void onNext(PublishUpdatesResponse answer) {
                if (answer.hasAck()) {
                    System.out.println("accepted");
                }
            }

            @Override public void onError(Throwable ended) {}

            @Override public void onCompleted() {}
        });
        UpdateChannel visual = UpdateChannel.UPDATE_CHANNEL_VISUAL;
        stream.onNext(PublishUpdatesRequest.newBuilder()
                .setOpen(PublishOpen.newBuilder().setLivestreamId(7).setNodeId(1).addChannels(visual)).build());
        stream.onNext(PublishUpdatesRequest.newBuilder()
                .setUpdate(UpdateDraft.newBuilder().setChannel(visual).setKeyframe(true)
                        .setPayload(ByteString.copyFromUtf8("hello"))).build());
    }
}
