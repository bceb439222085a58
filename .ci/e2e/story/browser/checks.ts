import { Code, ConnectError } from "@connectrpc/connect";
import { type Goodbye, GoodbyeReason } from "./gen/starling/swarm/v1/swarm_pb";

export function expect(holds: boolean, ...what: unknown[]): asserts holds {
  if (!holds) {
    throw new Error(["not as expected:", ...what.map(String)].join(" "));
  }
}

/** Whether the server asks for tokens, over TLS. */
export const trust = new URLSearchParams(location.search).has("trust");

/** Whether a stream ended of its age: the same server goes on at once. With a token it is the token's age. */
export const planned = (goodbye: Goodbye | undefined, error: unknown): boolean => {
  const [reason, code] = trust
    ? [GoodbyeReason.TOKEN_EXPIRED, Code.Unauthenticated]
    : [GoodbyeReason.STREAM_AGE, Code.Unavailable];
  return goodbye?.reason === reason && ConnectError.from(error).code === code;
};

/** The error that a call ends with. */
export async function refusal(call: Promise<unknown>): Promise<ConnectError> {
  try {
    await call;
  } catch (refused) {
    return ConnectError.from(refused);
  }
  throw new Error("it ends with OK");
}
