// What everybody writes first, beside the imports of gRPC.
import { credentials, type ServiceError } from "@grpc/grpc-js";
import { type JoinLivestreamResponse, LivestreamServiceClient, ViewerMode } from "./gen/starling/livestream/v1/livestream";
import { UpdateChannel } from "./gen/starling/swarm/v1/swarm";

const client = new LivestreamServiceClient(process.argv[2] ?? "localhost:50051", credentials.createInsecure());

client.joinLivestream(
  {
    livestreamId: 7,
    nodeId: 2,
    mode: ViewerMode.VIEWER_MODE_ACTIVE,
    canRelay: undefined,
    endpoint: undefined,
    metadata: undefined,
    interests: [],
    leaseTtl: undefined,
    requestId: "",
  },
  (refused: ServiceError | null, joined: JoinLivestreamResponse) => {
    if (refused) {
      throw refused;
    }
    talk(joined.sessionId);
  },
);

function talk(sessionId: number): void {
  const update = {
    channel: UpdateChannel.UPDATE_CHANNEL_CHAT,
    payload: Buffer.from("hello"),
    keyframe: false,
    urgent: false,
    temporalLayer: 0,
    publisherSequence: 0,
    publishTime: undefined,
    track: 0,
  };
  client.publishUpdate({ livestreamId: 7, nodeId: 2, sessionId, update, term: 0 }, (refused) => {
    if (refused) {
      throw refused;
    }
  });
  client
    .subscribeUpdates({ livestreamId: 7, nodeId: 2, sessionId, channels: [], startFrom: 0, resumeFrom: undefined })
    .on("data", (answer) => {
      for (const delivery of answer.deliveries) {
        console.log(delivery.update?.payload.length ?? 0, "bytes");
      }
    });
}
