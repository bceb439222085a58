// What watches come to: their messages folded, and opened again when a stream ends of its age.
import { clone, create } from "@bufbuild/protobuf";
import type { CallOptions, Client } from "@connectrpc/connect";
import { expect, planned } from "./checks";
import { LivestreamEventKind, type LivestreamService, type Viewer } from "./gen/starling/livestream/v1/livestream_pb";
import { type Goodbye, type TargetList, TargetListSchema } from "./gen/starling/swarm/v1/swarm_pb";

/** The state at each revision that a message named. */
export class Fold<State> {
  readonly at = new Map<bigint, State>();
  reopenings = 0;
  private revision = 0n;
  private readonly abort = new AbortController();
  private news = (): void => {};

  /** Reads one stream after the other; `take` answers with the state, or nothing while it is not complete. */
  async run<Message extends { revision: bigint }>(
    open: (options: CallOptions) => AsyncIterable<Message>,
    goodbyeOf: (message: Message) => Goodbye | undefined,
    take: (message: Message) => State | undefined,
  ): Promise<void> {
    for (; !this.abort.signal.aborted; this.reopenings++) {
      let goodbye: Goodbye | undefined;
      try {
        for await (const message of open({ signal: this.abort.signal })) {
          goodbye = goodbyeOf(message);
          const state = goodbye ? undefined : take(message);
          if (state) {
            this.at.set(message.revision, state);
            this.revision = message.revision;
            this.news();
          }
        }
        expect(false, "the watch ended");
      } catch (ended) {
        expect(this.abort.signal.aborted || planned(goodbye, ended), "the watch ended:", goodbye?.reason, ended);
      }
    }
  }

  /** Waits until the fold is current up to a revision. */
  async reach(revision: bigint): Promise<void> {
    while (this.revision < revision) {
      await new Promise<void>((resolve) => (this.news = resolve));
    }
  }

  stop(): void {
    this.abort.abort();
  }
}

export function sorted(list: TargetList): TargetList {
  const copy = clone(TargetListSchema, list);
  copy.targets.sort((a, b) => Number(a.nodeId - b.nodeId));
  return copy;
}

export const sessions = (viewers: Viewer[]): Map<bigint, bigint> =>
  new Map(viewers.map(({ nodeId, sessionId }) => [nodeId, sessionId]));

type Livestreams = Client<typeof LivestreamService>;

/** The targets of one viewer. A watch that is opened again begins with a snapshot. */
export function foldTargets(
  client: Livestreams, whose: Parameters<Livestreams["watchTargets"]>[0], fold: Fold<TargetList>,
): Promise<void> {
  let list = create(TargetListSchema);
  return fold.run(
    (options) => client.watchTargets(whose, options),
    ({ event }) => (event.case === "goodbye" ? event.value : undefined),
    ({ event }) => {
      if (event.case === "snapshot") {
        list = sorted(event.value);
      } else if (event.case === "delta") {
        const { topology, placement, parent, backupParent, removed, updated, added } = event.value;
        const changed = [...updated, ...added];
        const gone = new Set([...removed, ...changed].map(({ nodeId }) => nodeId));
        const targets = [...list.targets.filter(({ nodeId }) => !gone.has(nodeId)), ...changed];
        list = sorted(create(TargetListSchema, { topology, placement, targets, parent, backupParent }));
      }
      return list;
    },
  );
}

/** Who is in, by session. A watch that is opened again resumes at the last revision, and tells what came since. */
export function foldRoster(client: Livestreams, livestreamId: bigint, fold: Fold<Map<bigint, bigint>>): Promise<void> {
  const roster = new Map<bigint, bigint>();
  let resumeFrom: { epoch: bigint; revision: bigint } | undefined;
  return fold.run(
    (options) => client.watchLivestream({ livestreamId, kinds: [LivestreamEventKind.MEMBERSHIP], resumeFrom }, options),
    ({ event }) => (event.case === "goodbye" ? event.value : undefined),
    ({ epoch, revision, event }) => {
      expect(event.case !== "reset" || !resumeFrom, "a reset in spite of a position");
      const page = event.case === "roster" ? event.value.viewers : [];
      sessions(page).forEach((session, node) => roster.set(node, session));
      for (const { change } of event.case === "batch" ? event.value.events : []) {
        if (change.case === "viewerJoined") {
          sessions([change.value.viewer!]).forEach((session, node) => roster.set(node, session));
        } else if (change.case === "viewerLeft") {
          expect(roster.get(change.value.nodeId) === change.value.sessionId, "who left was in:", change.value.nodeId);
          roster.delete(change.value.nodeId);
        }
      }
      // Only a complete state can be resumed from.
      if (event.case !== "snapshotComplete" && !resumeFrom) {
        return undefined;
      }
      resumeFrom = { epoch, revision };
      return new Map(roster);
    },
  );
}
