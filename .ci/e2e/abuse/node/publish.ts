// An honest publisher that is as fast as it can be, with grpc-js and its default settings:
// node publish.js ADDRESS PID SECONDS STOP
//
// It publishes updates of 0, 10 and 100 bytes on 1, 8 and 64 streams of one connection, SECONDS for each combination,
// and stops the server (PID) for STOP seconds in the middle. A stream that ends before its time, an update that is
// refused or not acknowledged ends it.
import { credentials, type ServiceError } from "@grpc/grpc-js";
import { once } from "node:events";
import { setImmediate as breathe, setTimeout as sleep } from "node:timers/promises";
import {
  CreateLivestreamRequest, JoinLivestreamRequest, type JoinLivestreamResponse, LivestreamServiceClient,
  PublishUpdatesRequest, type PublishUpdatesResponse, StartLivestreamRequest,
} from "./gen/starling/livestream/v1/livestream";
import { UpdateChannel } from "./gen/starling/swarm/v1/swarm";

const BROADCASTER = 1;
// Updates of a stream that may wait for their acknowledgement. grpc-js itself takes 1 MiB of messages without a word, and
// then forgets each that was sent by going through all of them: of small ones, for minutes.
const WINDOW = 1024;
const channel = UpdateChannel.UPDATE_CHANNEL_DATA;
const [address, pid, seconds, stop] = [process.argv[2], ...process.argv.slice(3).map(Number)] as
  [string, number, number, number];
let livestreams = 0; // that were created

/** A unary call as a promise. */
function ask<Answer>(
  call: (done: (refused: ServiceError | null, answer: Answer) => void) => unknown,
): Promise<Answer> {
  return new Promise((resolve, reject) => call((refused, answer) => (refused ? reject(refused) : resolve(answer))));
}

/** A publish stream into a livestream of its own. */
async function open(client: LivestreamServiceClient) {
  const id = { livestreamId: ++livestreams, nodeId: BROADCASTER };
  await ask((done) => client.createLivestream(CreateLivestreamRequest.fromPartial(id), done));
  await ask((done) => client.startLivestream(StartLivestreamRequest.fromPartial(id), done));
  const { sessionId } = await ask<JoinLivestreamResponse>(
    (done) => client.joinLivestream(JoinLivestreamRequest.fromPartial(id), done));
  const stream = client.publishUpdates();
  const answers = stream[Symbol.asyncIterator]() as AsyncIterator<PublishUpdatesResponse>;
  stream.write(PublishUpdatesRequest.fromPartial({ open: { ...id, sessionId, channels: [channel] } }));
  await answers.next();
  return { stream, answers };
}

/** Publishes until the time is over; how many updates. */
async function publish(
  { stream, answers }: Awaited<ReturnType<typeof open>>, payload: number, until: number,
): Promise<number> {
  let [sent, through] = [0, 0];
  let acknowledge = () => {}; // wakes who waits for an acknowledgement
  const acknowledged = (async () => {
    for (;;) {
      const { done, value } = await answers.next();
      if (done) {
        return;
      }
      if (value.rejected || value.revoked || value.goodbye) {
        throw new Error(`after ${through} acknowledgements the server says ${JSON.stringify(value)}`);
      }
      through = value.ack?.channels[0].acceptedThrough ?? through;
      acknowledge();
    }
  })().catch((ended) => {
    throw new Error(`${payload} bytes, after ${sent} updates, ${through} acknowledged: ${String(ended)}`);
  });
  const sends = (async () => {
    while (Date.now() < until) {
      sent++;
      const update = { channel, payload: Buffer.alloc(payload), publisherSequence: sent };
      if (!stream.write(PublishUpdatesRequest.fromPartial({ update }))) {
        await once(stream, "drain");
      } else if (sent % 64 === 0) {
        await breathe();
      }
      while (sent - through >= WINDOW) {
        await new Promise<void>((resolve) => (acknowledge = resolve));
      }
    }
    stream.end();
  })();
  await Promise.race([acknowledged, sends]);
  await acknowledged;
  await sends;
  if (through !== sent) {
    throw new Error(`${sent} updates of ${payload} bytes: ${through} acknowledged`);
  }
  return sent;
}

async function main(): Promise<void> {
  for (const payload of [0, 10, 100]) {
    for (const streams of [1, 8, 64]) {
      // Each combination over a connection of its own.
      const options = { "grpc.use_local_subchannel_pool": 1 };
      const client = new LivestreamServiceClient(address, credentials.createInsecure(), options);
      const opened = await Promise.all(Array.from({ length: streams }, () => open(client)));
      const until = Date.now() + seconds * 1000;
      const stopped = (async () => {
        await sleep(seconds * 500);
        process.kill(pid, "SIGSTOP");
        await sleep(stop * 1000);
        process.kill(pid, "SIGCONT");
      })();
      const counts = await Promise.all(opened.map((each) => publish(each, payload, until)));
      await stopped;
      client.close();
      const updates = counts.reduce((sum, count) => sum + count, 0);
      console.log(`${payload} bytes, ${streams} streams: ${updates} updates, all acknowledged`);
    }
  }
}

main().catch((surprise) => {
  console.error(String(surprise));
  process.exit(1);
});
