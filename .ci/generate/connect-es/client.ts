// What everybody writes first, beside the imports of Connect.
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { LivestreamService, ViewerMode } from "./gen/starling/livestream/v1/livestream_pb";
import { UpdateChannel } from "./gen/starling/swarm/v1/swarm_pb";

const transport = createGrpcTransport({ baseUrl: process.argv[2] ?? "http://localhost:50051" });
const client = createClient(LivestreamService, transport);

async function talk(): Promise<void> {
  const member = { livestreamId: 7n, nodeId: 2n };
  const { sessionId } = await client.joinLivestream({ ...member, mode: ViewerMode.ACTIVE });
  await client.publishUpdate({
    ...member,
    sessionId,
    update: { channel: UpdateChannel.CHAT, payload: new TextEncoder().encode("hello") },
  });
  for await (const answer of client.subscribeUpdates({ ...member, sessionId })) {
    for (const { item } of answer.deliveries) {
      if (item.case === "update") {
        console.log(item.value.payload.length, "bytes");
      }
    }
  }
}

talk().catch((refused: unknown) => {
  const { code } = ConnectError.from(refused);
  console.error(Code[code]);
});
