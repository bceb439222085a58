// The story of an ordinary client in a browser, with Connect for the web, over gRPC-Web and with default settings. The
// page is served by serve.mjs, from another origin than the service.
//
// It creates a livestream, joins it with 20 viewers, folds what is watched under churn, publishes 600 updates and
// receives them across the ages of streams and connections, reads the details of an error, sets a deadline, and has the
// server stopped. A browser cannot stream to a server: it publishes by calls, which keep its session as a stream would.
import { equals } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { expect, planned, refusal } from "./checks";
import { Fold, foldRoster, foldTargets, sessions, sorted } from "./folds";
import { ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb";
import { type GetTargetsResponse, LivestreamService } from "./gen/starling/livestream/v1/livestream_pb";
import { type ServerLimits, ServerService } from "./gen/starling/swarm/v1/server_pb";
import {
  type Goodbye, GoodbyeReason, type TargetList, TargetListSchema, UpdateChannel, type UpdatePosition,
} from "./gen/starling/swarm/v1/swarm_pb";

const UPDATES = 600;
const livestreamId = 7n;
const [BROADCASTER, WATCHED, SUBSCRIBER, LAST] = [1n, 2n, 3n, 21n]; // the viewers are 2..21

const settings = new URLSearchParams(location.search);
const publishSeconds = Number(settings.get("seconds"));
const leaseSeconds = Number(settings.get("lease"));
const connect = (server: string) =>
  createClient(LivestreamService, createGrpcWebTransport({ baseUrl: `http://${server}` }));
let client = connect(settings.get("server")!);
const members = new Map<bigint, bigint>(); // node -> session
let begun = false; // the subscriber has the first update
let limits: ServerLimits | undefined;

const tell = (line: string) => fetch("/line", { method: "POST", body: line });
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const who = (nodeId: bigint) => ({ livestreamId, nodeId, sessionId: members.get(nodeId) });
// A node that watches its own targets.
const targetsOf = (nodeId: bigint) => ({ ...who(nodeId), ofNodeId: nodeId });
const viewers = () => client.listViewers({ livestreamId });

async function begin(): Promise<void> {
  const transport = createGrpcWebTransport({ baseUrl: `http://${settings.get("server")}` });
  ({ limits } = await createClient(ServerService, transport).getServerInfo({}));
  const config = {
    starToTreeThreshold: 10, treeFanout: 3, // a tree with several levels, so that viewers have targets
    maxLag: { seconds: 60n }, // on a busy machine nobody is to skip ahead
  };
  await client.createLivestream({ livestreamId, nodeId: BROADCASTER, config });
  await client.startLivestream({ livestreamId, nodeId: BROADCASTER });
  for (let node = WATCHED; node <= LAST; node++) {
    await join(node, 300); // most of the viewers open no stream
  }
  await join(BROADCASTER, leaseSeconds);
  await tell(`created, started, ${LAST - BROADCASTER} viewers and the broadcaster joined`);
}

async function join(nodeId: bigint, lease: number): Promise<void> {
  const { sessionId } = await client.joinLivestream({ livestreamId, nodeId, leaseTtl: { seconds: BigInt(lease) } });
  members.set(nodeId, sessionId);
}

/** Publishes and receives, while viewers come and go and two watches are folded. */
async function liveThrough(): Promise<void> {
  const [targets, roster] = [new Fold<TargetList>(), new Fold<Map<bigint, bigint>>()];
  const folds = Promise.all([foldTargets(client, targetsOf(WATCHED), targets), foldRoster(client, livestreamId, roster)]);
  let living = true;
  const work = Promise.all([publish(), subscribe()]).finally(() => (living = false));
  const [[published, resumes], answers] = await Promise.all([work, churn(() => living)]);
  await tell(`published ${UPDATES} of ${UPDATES} by calls: ${published.how}`);
  await tell(`received ${UPDATES} of ${UPDATES} in order, without a gap: ${resumes} resumes`);

  await leaseRunsOut(published.end);
  // Nothing changes any more. The next heartbeat tells the folds that they are current.
  answers.push(await client.getTargets({ livestreamId, ofNodeId: WATCHED }));
  await targets.reach(answers.at(-1)!.revision);
  const known = answers.filter(({ revision }) => targets.at.has(revision));
  for (const answer of known) {
    const folded = targets.at.get(answer.revision)!;
    expect(equals(TargetListSchema, folded, sorted(answer.targets!)), "the folded targets equal GetTargets");
  }
  await tell(`targets: ${targets.at.size} messages folded, equal to GetTargets at ${known.length} revisions: ` +
    `${targets.reopenings} reopenings`);
  const list = await viewers();
  await roster.reach(list.revision);
  const text = (map: Map<bigint, bigint>) => [...map].map(String).sort().join();
  expect(text(roster.at.get(list.revision)!) === text(sessions(list.viewers)), "the folded roster equals ListViewers");
  await tell(`roster: ${roster.at.size} messages folded, equal to ListViewers: ${roster.reopenings} resumes`);
  targets.stop();
  roster.stop();
  await folds;
}

/** Has viewers come and go until the rest is done, and asks each time for what the fold should be. */
async function churn(living: () => boolean): Promise<GetTargetsResponse[]> {
  const [first, stay] = [100n, 5n];
  const answers: GetTargetsResponse[] = [];
  for (let node = first; living(); node++) {
    await join(node, 300);
    if (node >= first + stay) {
      await client.leaveLivestream({ livestreamId, nodeId: node - stay });
    }
    answers.push(await client.getTargets({ livestreamId, ofNodeId: WATCHED }));
    await sleep(100);
  }
  return answers;
}

const payload = (number: number): string => `update ${number}`;

/**
 * Sends the updates at an even pace, each under its number, so that one whose answer is lost can be sent again. Neither
 * the session nor the right to publish may be lost meanwhile, without a stream and without RenewLease.
 */
async function publish(): Promise<{ how: string; end: number }> {
  let [term, keyframe, again] = [0n, true, 0];
  const began = Date.now();
  for (let number = 1; number <= UPDATES; number++) {
    await sleep(began + (number * publishSeconds * 1000) / UPDATES - Date.now());
    const update = {
      channel: UpdateChannel.VISUAL, payload: new TextEncoder().encode(payload(number)), keyframe,
      publisherSequence: BigInt(number),
    };
    for (;;) {
      try {
        // With the term it is refused should the right have been lost and granted anew.
        const { receipt } = await client.publishUpdate({ ...who(BROADCASTER), update, term });
        term ||= receipt!.position!.term;
        keyframe = receipt!.keyframeWanted;
        const { sequence } = receipt!.position!;
        expect(sequence === BigInt(number), "update", number, "stands at", sequence);
        break;
      } catch (refused) {
        expect(ConnectError.from(refused).code === Code.Unavailable, "update", number, refused);
        again++;
      }
    }
    // Whoever has no position yet begins at the newest keyframe: let that be the first update.
    while (!begun) {
      await sleep(10);
    }
  }
  const end = Date.now();
  const { livestream } = await client.getLivestream({ livestreamId });
  expect(livestream!.broadcasterPresent, "the broadcaster still has its session");
  const seconds = Math.round((end - began) / 1000);
  const how = `${again} sent again, for ${seconds} s in one term and one session, with a lease of ${leaseSeconds} s`;
  return { how, end };
}

/**
 * The lease was in force all the time: it ends the session of who publishes no more. An update renews it only when less
 * than half of it is left.
 */
async function leaseRunsOut(last: number): Promise<void> {
  const seconds = () => (Date.now() - last) / 1000;
  while ((await client.getLivestream({ livestreamId })).livestream!.broadcasterPresent) {
    expect(seconds() < leaseSeconds + 2, "the lease runs out");
    await sleep(100);
  }
  expect(seconds() > leaseSeconds / 2 - 0.5, "the lease ran out after", seconds(), "seconds");
  await tell(`the lease ran out ${seconds().toFixed(1)} s after the last update`);
}

/** Receives the updates, and resumes at the last position whenever a stream ends of its age. Tells how often. */
async function subscribe(): Promise<number> {
  const abort = new AbortController();
  let resumeFrom: { epoch: bigint; positions: UpdatePosition[] } | undefined;
  let next = 1;
  for (let resumes = 0; ; resumes++) {
    let goodbye: Goodbye | undefined;
    try {
      const request = { ...who(SUBSCRIBER), channels: [UpdateChannel.VISUAL], resumeFrom };
      for await (const { deliveries } of client.subscribeUpdates(request, { signal: abort.signal })) {
        for (const { item } of deliveries) {
          expect(item.case !== "gap", "a gap");
          if (item.case === "subscribed" && !resumeFrom) {
            // Without positions: what waits for its first keyframe has none yet.
            resumeFrom = { epoch: item.value.epoch, positions: [] };
            const { heartbeatInterval } = item.value;
            expect(heartbeatInterval!.nanos === limits!.heartbeatInterval!.nanos, "the heartbeat:", heartbeatInterval);
          } else if (item.case === "update") {
            const text = new TextDecoder().decode(item.value.payload);
            expect(text === payload(next), "update", next, "is", text);
            resumeFrom!.positions = [item.value.position!];
            begun = true;
            next++;
          } else if (item.case === "goodbye") {
            goodbye = item.value;
          }
        }
        if (next > UPDATES) {
          return resumes; // which ends the stream
        }
      }
      expect(false, "the subscription ended");
    } catch (ended) {
      expect(planned(goodbye, ended), "the subscription ended:", goodbye?.reason, ended);
    }
  }
}

async function errorDetails(): Promise<void> {
  const error = await refusal(client.joinLivestream({ livestreamId: 404n, nodeId: 1n }));
  const [info] = error.findDetails(ErrorInfoSchema);
  expect(error.code === Code.NotFound && info?.reason === "LIVESTREAM_NOT_FOUND", "an unknown livestream:", error);
  await tell(`unknown livestream: ${Code[error.code]}, reason ${info.reason}, domain ${info.domain}`);
}

async function deadline(): Promise<void> {
  // By another name the browser makes new connections: an old one might reach its age just then, which ends streams
  // otherwise.
  client = connect(settings.get("server")!.replace("127.0.0.1", "localhost"));
  const attached = async () => (await viewers()).viewers.some(({ nodeId, attached }) => nodeId === LAST && attached);
  const began = Date.now();
  const error = await refusal((async () => {
    for await (const _ of client.watchTargets(targetsOf(LAST), { timeoutMs: 500 })) {
      expect(await attached(), "the watch keeps its session attached");
    }
  })());
  const took = Date.now() - began;
  expect(error.code === Code.DeadlineExceeded && took < 1000, "after", took, error);
  while (await attached()) {
    expect(Date.now() - began < 2000, "the server ends its side too");
  }
  await tell(`deadline of 500 ms: ${Code[error.code]} after ${took} ms, on the server too`);
}

/** Opens one stream of each kind, has the server stopped and hears how it says so. */
async function shutdown(): Promise<void> {
  const begun: Promise<void>[] = [];
  const hear = async <Message>(
    stream: AsyncIterable<Message>, goodbyeOf: (message: Message) => Goodbye | undefined,
  ) => {
    let first = (): void => {};
    begun.push(new Promise((resolve) => (first = resolve)));
    const heard: { goodbye?: Goodbye } = {};
    const error = await refusal((async () => {
      for await (const message of stream) {
        first();
        heard.goodbye = goodbyeOf(message) ?? heard.goodbye;
      }
    })());
    return { ...heard, error };
  };
  const streams = [
    hear(client.watchTargets(targetsOf(WATCHED)), ({ event }) => (event.case === "goodbye" ? event.value : undefined)),
    hear(client.watchLivestream(who(LAST)), ({ event }) => (event.case === "goodbye" ? event.value : undefined)),
    hear(client.subscribeUpdates(who(SUBSCRIBER)), ({ deliveries }) => {
      const item = deliveries.at(-1)?.item;
      return item?.case === "goodbye" ? item.value : undefined;
    }),
  ];
  await Promise.all(begun);
  await fetch("/stop", { method: "POST" });
  for (const { goodbye, error } of await Promise.all(streams)) {
    expect(goodbye?.reason === GoodbyeReason.DRAINING, "goodbye:", goodbye?.reason, error);
    expect(error.code === Code.Unavailable, "the status:", error);
    expect(error.findDetails(RetryInfoSchema).length === 1, "says when to come back:", error);
  }
  await tell(`stopping: goodbye DRAINING, then ${Code[Code.Unavailable]} with RetryInfo, on ${streams.length} streams`);
}

begin().then(liveThrough).then(errorDetails).then(deadline).then(shutdown).then(
  () => fetch("/end", { method: "POST" }),
  (surprise) => fetch("/end", { method: "POST", body: surprise.stack }),
);
