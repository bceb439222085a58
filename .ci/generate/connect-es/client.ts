// What everybody writes first, beside the imports of Connect. docs/clients/first-lines.md shows it.
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { LivestreamService, LivestreamState } from "./gen/starling/livestream/v1/livestream_pb";
import { UpdateChannel } from "./gen/starling/swarm/v1/swarm_pb";

const transport = createGrpcTransport({ baseUrl: process.argv[2] ?? "http://localhost:50051" });
const client = createClient(LivestreamService, transport);

async function watch(): Promise<void> {
  const who = { livestreamId: 7n, nodeId: 2n };
  const { sessionId, livestream } = await client.joinLivestream(who);
  console.log(LivestreamState[livestream!.state]);
  for await (const { deliveries } of client.subscribeUpdates({ ...who, sessionId })) {
    for (const { item } of deliveries) {
      if (item.case === "update") console.log(item.value.payload.length, "bytes");
    }
  }
}

async function publish(): Promise<void> {
  const update = { channel: UpdateChannel.DATA, keyframe: true, payload: new TextEncoder().encode("hello") };
  const { receipt } = await client.publishUpdate({ livestreamId: 7n, nodeId: 1n, update });
  console.log("accepted at", receipt!.position!.sequence);
}

publish().then(watch).catch((refused: unknown) => {
  const { code } = ConnectError.from(refused);
  console.error(Code[code]);
});
