// The story of an ordinary client, with grpc-js and its default settings: node story.js ADDRESS PID
//
// It creates a livestream, joins it with 20 viewers, folds what is watched under churn, publishes 600 updates and
// receives them across the ages of streams and connections, reads the details of an error, sets a deadline, and tells
// the server (PID) to stop. Any surprise ends it. With STORY_TRUST all of that is over TLS, each node with a token of
// its own that ends within seconds.
import { type ClientReadableStream, type ServiceError, status } from "@grpc/grpc-js";
import { isDeepStrictEqual } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import {
  as, ask, BROADCASTER, connect, credentialsOf, detail, expect, ID, LAST, refusal, type Story, SUBSCRIBER, targetsOf,
  trust, WATCHED,
} from "./client";
import { Fold, foldRoster, foldTargets, sessions, sorted } from "./folds";
import { ErrorInfo, RetryInfo } from "./gen/google/rpc/error_details";
import {
  CreateLivestreamRequest, GetLivestreamRequest, GetTargetsRequest, type GetTargetsResponse, JoinLivestreamRequest,
  type JoinLivestreamResponse, LeaveLivestreamRequest, type ListViewersResponse, LivestreamServiceClient,
  ListViewersRequest, PublishUpdateRequest, type PublishUpdatesResponse, StartLivestreamRequest,
  type SubscribeUpdatesResponse, type WatchTargetsResponse,
} from "./gen/starling/livestream/v1/livestream";
import { type GetServerInfoResponse, ServerServiceClient } from "./gen/starling/swarm/v1/server";
import { type Goodbye, GoodbyeReason, type TargetList, UpdateChannel } from "./gen/starling/swarm/v1/swarm";
import { open, publish, subscribe, subscription, UPDATES } from "./streams";

async function begin(story: Story): Promise<void> {
  const config = {
    starToTreeThreshold: 10, treeFanout: 3, // a tree with several levels, so that viewers have targets
    maxLag: { seconds: 60 }, // on a busy machine nobody is to skip ahead
  };
  const create = CreateLivestreamRequest.fromPartial({ livestreamId: ID, nodeId: BROADCASTER, config });
  await ask((done) => as(story, BROADCASTER).createLivestream(create, done));
  const start = StartLivestreamRequest.fromPartial({ livestreamId: ID, nodeId: BROADCASTER });
  await ask((done) => as(story, BROADCASTER).startLivestream(start, done));
  for (let node = BROADCASTER; node <= LAST; node++) {
    story.sessions.set(node, (await join(story, node)).sessionId);
  }
  console.log(`created, started, ${LAST - BROADCASTER} viewers and the broadcaster joined`);
}

function join(story: Story, nodeId: number, livestreamId = ID): Promise<JoinLivestreamResponse> {
  // Most viewers here open no stream: without it their sessions would end after 30 s.
  const request = JoinLivestreamRequest.fromPartial({ livestreamId, nodeId, leaseTtl: { seconds: 300 } });
  return ask((done) => as(story, nodeId).joinLivestream(request, done));
}

const getTargets = (story: Story): Promise<GetTargetsResponse> =>
  ask((done) => as(story, WATCHED).getTargets(
    GetTargetsRequest.fromPartial({ livestreamId: ID, ofNodeId: WATCHED }), done));

const listViewers = (story: Story): Promise<ListViewersResponse> =>
  ask((done) => as(story, BROADCASTER).listViewers(ListViewersRequest.fromPartial({ livestreamId: ID }), done));

/** Publishes and receives, while viewers come and go and two watches are folded. */
async function liveThrough(story: Story): Promise<void> {
  const targets = new Fold<TargetList>();
  const roster = new Fold<Map<number, number>>();
  const folds = Promise.all([foldTargets(story, targets), foldRoster(story, roster)]);
  let living = true;
  const work = Promise.all([publish(story), subscribe(story)]).finally(() => (living = false));
  const [[{ reopenings, carried }, resumes], answers] = await Promise.all([work, churn(story, () => living)]);
  console.log(`published ${UPDATES} of ${UPDATES}: ${reopenings} reopenings, ${carried} carried over`);
  expect(!trust || Math.min(reopenings, resumes) > 1, "streams end with their tokens");
  console.log(`received ${UPDATES} of ${UPDATES} in order, without a gap: ${resumes} resumes`);

  // Nothing changes any more. The next heartbeat tells the folds that they are current.
  answers.push(await getTargets(story));
  await targets.reach(answers[answers.length - 1].revision);
  const known = answers.filter(({ revision }) => targets.at.has(revision));
  for (const answer of known) {
    expect(isDeepStrictEqual(targets.at.get(answer.revision), sorted(answer.targets!)), "folded as in", answer);
  }
  console.log(`targets: ${targets.at.size} messages folded, equal to GetTargets at ${known.length} revisions:`,
    `${targets.reopenings} reopenings`);
  const list = await listViewers(story);
  await roster.reach(list.revision);
  expect(isDeepStrictEqual(roster.at.get(list.revision), sessions(list.viewers)), "folded as in", list);
  console.log(`roster: ${roster.at.size} messages folded, equal to ListViewers: ${roster.reopenings} resumes`);
  targets.stop();
  roster.stop();
  await folds;
}

/** Has viewers come and go until the rest is done, and asks each time for what the fold should be. */
async function churn(story: Story, living: () => boolean): Promise<GetTargetsResponse[]> {
  const [first, stay] = [100, 5];
  const answers: GetTargetsResponse[] = [];
  for (let node = first; living(); node++) {
    await join(story, node);
    if (node >= first + stay) {
      const leave = LeaveLivestreamRequest.fromPartial({ livestreamId: ID, nodeId: node - stay });
      await ask((done) => as(story, node - stay).leaveLivestream(leave, done));
    }
    answers.push(await getTargets(story));
    await sleep(100);
  }
  return answers;
}

async function errorDetails(story: Story): Promise<void> {
  const error = await refusal(join(story, 1, 404));
  const info = detail(error, "ErrorInfo", (packed) => ErrorInfo.decode(packed));
  expect(error.code === status.NOT_FOUND && info?.reason === "LIVESTREAM_NOT_FOUND", "an unknown livestream:", error);
  console.log(`unknown livestream: ${status[error.code]}, reason ${info?.reason}, domain ${info?.domain}`);
}

/** Shows a token that counts for nothing, and asks for what a viewer may not do. */
async function refusals(story: Story, address: string): Promise<void> {
  const refused = async (call: Promise<unknown>, code: status, reason: string) => {
    const error = await refusal(call);
    const found = detail(error, "ErrorInfo", (packed) => ErrorInfo.decode(packed))?.reason;
    expect(error.code === code && found === reason, reason, "is", error);
  };
  const wrong = new LivestreamServiceClient(address, credentialsOf("wrong"));
  const get = ask((done) => wrong.getLivestream(GetLivestreamRequest.fromPartial({ livestreamId: ID }), done));
  await refused(get, status.UNAUTHENTICATED, "TOKEN_INVALID");
  wrong.close();
  const viewer = as(story, SUBSCRIBER);
  const update = { channel: UpdateChannel.UPDATE_CHANNEL_VISUAL, payload: Buffer.from("not mine") };
  const publish = PublishUpdateRequest.fromPartial({ livestreamId: ID, update });
  await refused(ask((done) => viewer.publishUpdate(publish, done)), status.PERMISSION_DENIED, "NOT_GRANTED");
  const leave = LeaveLivestreamRequest.fromPartial({ livestreamId: ID, nodeId: WATCHED });
  await refused(ask((done) => viewer.leaveLivestream(leave, done)), status.PERMISSION_DENIED, "NOT_YOUR_NODE");
  console.log("refused: a wrong token, a viewer that publishes, one that acts for another");
}

async function deadline(story: Story): Promise<void> {
  const attached = async () =>
    (await listViewers(story)).viewers.some((viewer) => viewer.nodeId === LAST && viewer.attached);
  const began = Date.now();
  const watch = as(story, LAST).watchTargets(targetsOf(story, LAST), { deadline: began + 500 });
  const error = await refusal((async () => {
    for await (const _ of watch) {
      expect(await attached(), "the watch keeps its session attached");
    }
  })());
  const took = Date.now() - began;
  expect(error.code === status.DEADLINE_EXCEEDED && took < 1000, "after", took, error);
  while (await attached()) {
    expect(Date.now() - began < 2000, "the server ends its side too");
  }
  console.log(`deadline of 500 ms: DEADLINE_EXCEEDED after ${took} ms, on the server too`);
}

/** Opens one stream of each kind, ends the server and hears how it says so. */
async function shutdown(story: Story, pid: number): Promise<void> {
  const publication = as(story, BROADCASTER).publishUpdates();
  publication.write(open(story));
  const heard = [
    hear(as(story, WATCHED).watchTargets(targetsOf(story, WATCHED)),
      (message: WatchTargetsResponse) => message.goodbye),
    hear(publication, (message: PublishUpdatesResponse) => message.goodbye),
    hear(as(story, SUBSCRIBER).subscribeUpdates(subscription(story, undefined)),
      (message: SubscribeUpdatesResponse) => message.deliveries.find(({ goodbye }) => goodbye)?.goodbye),
  ];
  await Promise.all(heard.map(({ first }) => first));
  process.kill(pid, "SIGTERM");
  for (const { end } of heard) {
    const { goodbye, error } = await end;
    expect(goodbye?.reason === GoodbyeReason.GOODBYE_REASON_DRAINING, "goodbye:", goodbye);
    expect(error.code === status.UNAVAILABLE, "the status:", error);
    const retry = detail(error, "RetryInfo", (packed) => RetryInfo.decode(packed));
    expect(retry !== undefined, "says when to come back:", error);
  }
  console.log(`stopping: goodbye DRAINING, then UNAVAILABLE with RetryInfo, on ${heard.length} streams`);
}

/** Reads a stream to its end: when it has begun, and how it ends. */
function hear<Message>(stream: ClientReadableStream<Message>, goodbyeOf: (message: Message) => Goodbye | undefined) {
  let goodbye: Goodbye | undefined;
  const first = new Promise((resolve) => stream.once("data", resolve));
  const end = new Promise<{ goodbye?: Goodbye; error: ServiceError }>((resolve) => {
    stream.on("data", (message: Message) => (goodbye = goodbyeOf(message) ?? goodbye));
    stream.on("error", (error: ServiceError) => resolve({ goodbye, error }));
  });
  return { first, end };
}

async function main(address: string, pid: string): Promise<void> {
  const server = new ServerServiceClient(address, credentialsOf("1"));
  const { limits } = await ask<GetServerInfoResponse>((done) => server.getServerInfo({}, done));
  server.close();
  const story: Story = { clients: connect(address), limits: limits!, sessions: new Map(), begun: false };
  await begin(story);
  await liveThrough(story);
  await errorDetails(story);
  if (trust) {
    await refusals(story, address);
  }
  story.clients.forEach((client) => client.close());
  // The rest over new connections.
  story.clients = connect(address);
  await deadline(story);
  await shutdown(story, Number(pid));
  story.clients.forEach((client) => client.close());
}

// A surprise is an unhandled rejection, which ends Node.js with 1.
void main(process.argv[2], process.argv[3]);
