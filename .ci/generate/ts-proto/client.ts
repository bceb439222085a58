// What everybody writes first, beside the imports of gRPC. docs/clients/first-lines.md shows it.
import { credentials, type ServiceError } from "@grpc/grpc-js";
import {
  JoinLivestreamRequest, type JoinLivestreamResponse, LivestreamServiceClient, LivestreamState, PublishUpdatesRequest,
  type PublishUpdatesResponse, SubscribeUpdatesRequest, type SubscribeUpdatesResponse,
} from "./gen/starling/livestream/v1/livestream";
import { UpdateChannel } from "./gen/starling/swarm/v1/swarm";

const client = new LivestreamServiceClient(process.argv[2] ?? "localhost:50051", credentials.createInsecure());

function watch(): void {
  const who = { livestreamId: 7, nodeId: 2 };
  client.joinLivestream(JoinLivestreamRequest.fromPartial(who), (refused, joined) => {
    if (refused) throw refused;
    console.log(LivestreamState[joined.livestream!.state]);
    const request = SubscribeUpdatesRequest.fromPartial({ ...who, sessionId: joined.sessionId });
    client.subscribeUpdates(request).on("data", ({ deliveries }: SubscribeUpdatesResponse) => {
      for (const { update } of deliveries) {
        if (update) console.log(update.payload.length, "bytes");
      }
    });
  });
}

function publish(): void {
  const channel = UpdateChannel.UPDATE_CHANNEL_VISUAL;
  const stream = client.publishUpdates();
  stream.write(PublishUpdatesRequest.fromPartial({ open: { livestreamId: 7, nodeId: 1, channels: [channel] } }));
  stream.write(PublishUpdatesRequest.fromPartial({ update: { channel, keyframe: true, payload: Buffer.from("hello") } }));
  stream.on("data", ({ ack }: PublishUpdatesResponse) => {
    if (ack) console.log("accepted");
  });
}

/** Without fromPartial every field is to be given. */
function join(done: (refused: ServiceError | null, joined: JoinLivestreamResponse) => void): void {
  const request: JoinLivestreamRequest = {
    livestreamId: 7,
    nodeId: 2,
    mode: 0,
    canRelay: undefined,
    endpoint: undefined,
    metadata: undefined,
    interests: [],
    leaseTtl: undefined,
    requestId: "",
  };
  client.joinLivestream(request, done);
}

publish();
join((refused) => {
  if (!refused) watch();
});
