// What the parts of the story share.
import { type ChannelCredentials, credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { readFileSync } from "node:fs";
import { Status } from "./gen/google/rpc/status";
import { LivestreamServiceClient, WatchTargetsRequest } from "./gen/starling/livestream/v1/livestream";
import type { ServerLimits } from "./gen/starling/swarm/v1/server";
import { type Goodbye, GoodbyeReason } from "./gen/starling/swarm/v1/swarm";

export const ID = 7;
export const [BROADCASTER, WATCHED, SUBSCRIBER, LAST] = [1, 2, 3, 21]; // the viewers are 2..21

/** The directory with the authority that vouches for the server, and the tokens; without it neither is needed. */
export const trust = process.env.STORY_TRUST;

/** With the token of this name, whose file is read for each call: others replace it meanwhile. */
export function credentialsOf(name: string): ChannelCredentials {
  if (!trust) {
    return credentials.createInsecure();
  }
  const token = credentials.createFromMetadataGenerator((_, done) => {
    const metadata = new Metadata();
    metadata.set("authorization", `Bearer ${readFileSync(`${trust}/${name}.jwt`, "utf8").trim()}`);
    done(null, metadata);
  });
  return credentials.combineChannelCredentials(credentials.createSsl(readFileSync(`${trust}/ca.pem`)), token);
}

/** Connections of their own, by the name of their token: one for each node, and one for the many that come and go. */
export function connect(address: string): Map<string, LivestreamServiceClient> {
  // By no means shared ones: an old one might reach its age just then, which ends streams otherwise.
  const options = { "grpc.use_local_subchannel_pool": 1 };
  const names = trust ? ["1", "2", "3", "crowd"] : ["1"];
  return new Map(names.map((name) => [name, new LivestreamServiceClient(address, credentialsOf(name), options)]));
}

export interface Story {
  clients: Map<string, LivestreamServiceClient>;
  limits: ServerLimits;
  sessions: Map<number, number>; // by node
  begun: boolean; // the subscriber has the first update
}

/** A client that calls as this node. */
export const as = (story: Story, node: number): LivestreamServiceClient =>
  story.clients.get(!trust ? "1" : node <= SUBSCRIBER ? String(node) : "crowd")!;

export const who = (story: Story, nodeId: number) =>
  ({ livestreamId: ID, nodeId, sessionId: story.sessions.get(nodeId) ?? 0 });

/** A node that watches its own targets. */
export const targetsOf = (story: Story, nodeId: number): WatchTargetsRequest =>
  WatchTargetsRequest.fromPartial({ ...who(story, nodeId), ofNodeId: nodeId });

export function expect(holds: boolean, ...what: unknown[]): void {
  if (!holds) {
    const told = what.map((each) => (typeof each === "string" ? each : JSON.stringify(each)));
    throw new Error(["not as expected:", ...told].join(" "));
  }
}

/** Whether a stream ended of its age: the same server goes on at once. With a token it is the token's age. */
export const planned = (goodbye: Goodbye | undefined, error: unknown): boolean => {
  const [reason, code] = trust
    ? [GoodbyeReason.GOODBYE_REASON_TOKEN_EXPIRED, status.UNAUTHENTICATED]
    : [GoodbyeReason.GOODBYE_REASON_STREAM_AGE, status.UNAVAILABLE];
  return goodbye?.reason === reason && (error as ServiceError).code === code;
};

/** A unary call as a promise. */
export function ask<Answer>(
  call: (done: (refused: ServiceError | null, answer: Answer) => void) => unknown,
): Promise<Answer> {
  return new Promise((resolve, reject) => call((refused, answer) => (refused ? reject(refused) : resolve(answer))));
}

/** One kind of google.rpc detail of a status, which grpc-js leaves packed. */
export function detail<Message>(
  error: ServiceError, name: string, decode: (packed: Uint8Array) => Message,
): Message | undefined {
  const [packed] = error.metadata.get("grpc-status-details-bin");
  const details = packed ? Status.decode(packed as Buffer).details : [];
  const found = details.find(({ typeUrl }) => typeUrl.endsWith(`/google.rpc.${name}`));
  return found ? decode(found.value) : undefined;
}

/** The error that a call ends with. */
export async function refusal(call: Promise<unknown>): Promise<ServiceError> {
  try {
    await call;
  } catch (refused) {
    return refused as ServiceError;
  }
  throw new Error("it ends with OK");
}
