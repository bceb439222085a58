// The story of an ordinary client in a browser, with Connect for the web, over gRPC-Web and with default settings. The
// page is served by serve.mjs, from another origin than the service.
//
// It creates a livestream, joins it with 20 viewers, folds what is watched under churn, publishes 600 updates and
// receives them across the ages of streams and connections, reads the details of an error, sets a deadline, and has the
// server stopped. Where the server wants tokens it is called over TLS, and each node has one that ends within seconds;
// the page gets them from where it comes from. A browser cannot stream to a server: it publishes by calls, which keep
// its session as a stream would.
import { equals } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { expect, planned, refusal, trust } from "./checks";
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
/** Calls with the token of this name, which the page asks for each time. */
const transportOf = (server: string, name: string) => {
  const token: Interceptor = (next) => async (request) => {
    request.header.set("authorization", `Bearer ${await (await fetch(`/token?name=${name}`)).text()}`);
    return next(request);
  };
  const baseUrl = `${trust ? "https" : "http"}://${server}`;
  return createGrpcWebTransport({ baseUrl, interceptors: trust ? [token] : [] });
};
/** By the name of their token: one for each node, and one for the many that come and go. */
const connect = (server: string): Map<string, Client<typeof LivestreamService>> => {
  const names = trust ? ["1", "2", "3", "crowd"] : ["1"];
  return new Map(names.map((name) => [name, createClient(LivestreamService, transportOf(server, name))]));
};
let clients = connect(settings.get("server")!);
/** Calls as this node. */
const as = (node: bigint) => clients.get(!trust ? "1" : node <= SUBSCRIBER ? String(node) : "crowd")!;
const members = new Map<bigint, bigint>(); // node -> session
let begun = false; // the subscriber has the first update
let limits: ServerLimits | undefined;

const tell = (line: string) => fetch("/line", { method: "POST", body: line });
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const who = (nodeId: bigint) => ({ livestreamId, nodeId, sessionId: members.get(nodeId) });
// A node that watches its own targets.
const targetsOf = (nodeId: bigint) => ({ ...who(nodeId), ofNodeId: nodeId });
const viewers = () => as(BROADCASTER).listViewers({ livestreamId });

async function begin(): Promise<void> {
  ({ limits } = await createClient(ServerService, transportOf(settings.get("server")!, "1")).getServerInfo({}));
  const config = {
    starToTreeThreshold: 10, treeFanout: 3, // a tree with several levels, so that viewers have targets
    maxLag: { seconds: 60n }, // on a busy machine nobody is to skip ahead
  };
  await as(BROADCASTER).createLivestream({ livestreamId, nodeId: BROADCASTER, config });
  await as(BROADCASTER).startLivestream({ livestreamId, nodeId: BROADCASTER });
  for (let node = WATCHED; node <= LAST; node++) {
    await join(node, 300); // most of the viewers open no stream
  }
  await join(BROADCASTER, leaseSeconds);
  await tell(`created, started, ${LAST - BROADCASTER} viewers and the broadcaster joined`);
}

async function join(nodeId: bigint, lease: number): Promise<void> {
  const leaseTtl = { seconds: BigInt(lease) };
  const { sessionId } = await as(nodeId).joinLivestream({ livestreamId, nodeId, leaseTtl });
  members.set(nodeId, sessionId);
}

/** Publishes and receives, while viewers come and go and two watches are folded. */
async function liveThrough(): Promise<void> {
  const [targets, roster] = [new Fold<TargetList>(), new Fold<Map<bigint, bigint>>()];
  const watching = as(WATCHED);
  const folds = Promise.all(
    [foldTargets(watching, targetsOf(WATCHED), targets), foldRoster(watching, livestreamId, roster)]);
  let living = true;
  const work = Promise.all([publish(), subscribe()]).finally(() => (living = false));
  const [[published, resumes], answers] = await Promise.all([work, churn(() => living)]);
  await tell(`published ${UPDATES} of ${UPDATES} by calls: ${published.how}`);
  expect(!trust || resumes > 1, "streams end with their tokens");
  await tell(`received ${UPDATES} of ${UPDATES} in order, without a gap: ${resumes} resumes`);

  await leaseRunsOut(published.end);
  // Nothing changes any more. The next heartbeat tells the folds that they are current.
  answers.push(await as(WATCHED).getTargets({ livestreamId, ofNodeId: WATCHED }));
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
      await as(node - stay).leaveLivestream({ livestreamId, nodeId: node - stay });
    }
    answers.push(await as(WATCHED).getTargets({ livestreamId, ofNodeId: WATCHED }));
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
        const { receipt } = await as(BROADCASTER).publishUpdate({ ...who(BROADCASTER), update, term });
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
  const { livestream } = await as(BROADCASTER).getLivestream({ livestreamId });
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
  while ((await as(BROADCASTER).getLivestream({ livestreamId })).livestream!.broadcasterPresent) {
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
      for await (const { deliveries } of as(SUBSCRIBER).subscribeUpdates(request, { signal: abort.signal })) {
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
  const error = await refusal(as(BROADCASTER).joinLivestream({ livestreamId: 404n, nodeId: 1n }));
  const [info] = error.findDetails(ErrorInfoSchema);
  expect(error.code === Code.NotFound && info?.reason === "LIVESTREAM_NOT_FOUND", "an unknown livestream:", error);
  await tell(`unknown livestream: ${Code[error.code]}, reason ${info.reason}, domain ${info.domain}`);
}

/** Shows a token that counts for nothing, and asks for what a viewer may not do. */
async function refusals(): Promise<void> {
  if (!trust) {
    return;
  }
  const refused = async (call: Promise<unknown>, code: Code, reason: string) => {
    const error = await refusal(call);
    const [info] = error.findDetails(ErrorInfoSchema);
    expect(error.code === code && info?.reason === reason, reason, "is", error);
  };
  const wrong = createClient(LivestreamService, transportOf(settings.get("server")!, "wrong"));
  await refused(wrong.getLivestream({ livestreamId }), Code.Unauthenticated, "TOKEN_INVALID");
  const update = { channel: UpdateChannel.VISUAL, payload: new TextEncoder().encode("not mine") };
  await refused(as(SUBSCRIBER).publishUpdate({ livestreamId, update }), Code.PermissionDenied, "NOT_GRANTED");
  const leave = as(SUBSCRIBER).leaveLivestream({ livestreamId, nodeId: WATCHED });
  await refused(leave, Code.PermissionDenied, "NOT_YOUR_NODE");
  await tell("refused: a wrong token, a viewer that publishes, one that acts for another");
}

async function deadline(): Promise<void> {
  // By another name the browser makes new connections: an old one might reach its age just then, which ends streams
  // otherwise.
  clients = connect(settings.get("server")!.replace("127.0.0.1", "localhost"));
  const attached = async () => (await viewers()).viewers.some(({ nodeId, attached }) => nodeId === LAST && attached);
  const began = Date.now();
  const error = await refusal((async () => {
    for await (const _ of as(LAST).watchTargets(targetsOf(LAST), { timeoutMs: 500 })) {
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
    hear(as(WATCHED).watchTargets(targetsOf(WATCHED)), ({ event }) =>
      event.case === "goodbye" ? event.value : undefined),
    hear(as(LAST).watchLivestream(who(LAST)), ({ event }) => (event.case === "goodbye" ? event.value : undefined)),
    hear(as(SUBSCRIBER).subscribeUpdates(who(SUBSCRIBER)), ({ deliveries }) => {
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

begin().then(liveThrough).then(errorDetails).then(refusals).then(deadline).then(shutdown).then(
  () => fetch("/end", { method: "POST" }),
  (surprise) => fetch("/end", { method: "POST", body: surprise.stack }),
);
