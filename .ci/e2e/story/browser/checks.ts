import { Code, ConnectError } from "@connectrpc/connect";
import { type Goodbye, GoodbyeReason } from "./gen/starling/swarm/v1/swarm_pb";

export function expect(holds: boolean, ...what: unknown[]): asserts holds {
  if (!holds) {
    throw new Error(["not as expected:", ...what.map(String)].join(" "));
  }
}

/** Whether a stream ended of its age: the same server goes on at once. */
export const planned = (goodbye: Goodbye | undefined, error: unknown): boolean =>
  goodbye?.reason === GoodbyeReason.STREAM_AGE && ConnectError.from(error).code === Code.Unavailable;

/** The error that a call ends with. */
export async function refusal(call: Promise<unknown>): Promise<ConnectError> {
  try {
    await call;
  } catch (refused) {
    return ConnectError.from(refused);
  }
  throw new Error("it ends with OK");
}
