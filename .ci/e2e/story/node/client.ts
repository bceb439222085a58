// What the parts of the story share.
import { type ServiceError, status } from "@grpc/grpc-js";
import { Status } from "./gen/google/rpc/status";
import type { LivestreamServiceClient } from "./gen/starling/livestream/v1/livestream";
import type { ServerLimits } from "./gen/starling/swarm/v1/server";
import { type Goodbye, GoodbyeReason } from "./gen/starling/swarm/v1/swarm";

export const ID = 7;
export const [BROADCASTER, WATCHED, SUBSCRIBER, LAST] = [1, 2, 3, 21]; // the viewers are 2..21

export interface Story {
  client: LivestreamServiceClient;
  limits: ServerLimits;
  sessions: Map<number, number>; // by node
  begun: boolean; // the subscriber has the first update
}

export const who = (story: Story, nodeId: number) =>
  ({ livestreamId: ID, nodeId, sessionId: story.sessions.get(nodeId) ?? 0 });

/** A node that watches its own targets. */
export const targetsOf = (story: Story, nodeId: number) => ({ ...who(story, nodeId), ofNodeId: nodeId });

export function expect(holds: boolean, ...what: unknown[]): void {
  if (!holds) {
    const told = what.map((each) => (typeof each === "string" ? each : JSON.stringify(each)));
    throw new Error(["not as expected:", ...told].join(" "));
  }
}

/** Whether a stream ended of its age: the same server goes on at once. */
export const planned = (goodbye: Goodbye | undefined, error: unknown): boolean =>
  goodbye?.reason === GoodbyeReason.GOODBYE_REASON_STREAM_AGE && (error as ServiceError).code === status.UNAVAILABLE;

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
