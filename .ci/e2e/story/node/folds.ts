// What watches come to: their messages folded, and opened again when a stream ends of its age.
import type { ClientReadableStream } from "@grpc/grpc-js";
import {
  LivestreamEventKind, type Viewer, WatchLivestreamRequest, type WatchLivestreamResponse, type WatchTargetsResponse,
} from "./gen/starling/livestream/v1/livestream";
import { type EventPosition, type Goodbye, TargetList } from "./gen/starling/swarm/v1/swarm";
import { as, expect, ID, planned, type Story, targetsOf, WATCHED } from "./client";

/** The state at each revision that a message named. */
export class Fold<State> {
  readonly at = new Map<number, State>();
  reopenings = 0;
  private revision = 0;
  private stopped = false;
  private stream?: ClientReadableStream<unknown>;
  private news = (): void => {};

  /** Reads one stream after the other; `take` answers with the state, or nothing while it is not complete. */
  async run<Message extends { revision: number; goodbye?: Goodbye }>(
    open: () => ClientReadableStream<Message>, take: (message: Message) => State | undefined,
  ): Promise<void> {
    for (; !this.stopped; this.reopenings++) {
      const stream = open();
      this.stream = stream;
      let goodbye: Goodbye | undefined;
      try {
        for await (const message of stream) {
          const state = message.goodbye ? undefined : take(message);
          goodbye = message.goodbye;
          if (state) {
            this.at.set(message.revision, state);
            this.revision = message.revision;
            this.news();
          }
        }
        expect(false, "the watch ended");
      } catch (ended) {
        expect(this.stopped || planned(goodbye, ended), "the watch ended:", goodbye, String(ended));
      }
    }
  }

  /** Waits until the fold is current up to a revision. */
  async reach(revision: number): Promise<void> {
    while (this.revision < revision) {
      await new Promise<void>((resolve) => (this.news = resolve));
    }
  }

  stop(): void {
    this.stopped = true;
    this.stream?.cancel();
  }
}

export const sorted = (list: TargetList): TargetList =>
  ({ ...list, targets: list.targets.toSorted((a, b) => a.nodeId - b.nodeId) });

export const sessions = (viewers: Viewer[]): Map<number, number> =>
  new Map(viewers.map(({ nodeId, sessionId }) => [nodeId, sessionId]));

/** The targets of one viewer. A watch that is opened again begins with a snapshot. */
export function foldTargets(story: Story, fold: Fold<TargetList>): Promise<void> {
  let list = TargetList.fromPartial({});
  const open = () => as(story, WATCHED).watchTargets(targetsOf(story, WATCHED));
  return fold.run(open, ({ snapshot, delta }: WatchTargetsResponse) => {
    if (snapshot) {
      list = sorted(snapshot);
    } else if (delta) {
      const changed = [...delta.updated, ...delta.added];
      const gone = new Set([...delta.removed, ...changed].map(({ nodeId }) => nodeId));
      const targets = [...list.targets.filter(({ nodeId }) => !gone.has(nodeId)), ...changed];
      const { topology, placement, parent, backupParent } = delta;
      list = sorted({ topology, placement, targets, parent, backupParent });
    }
    return list;
  });
}

/** Who is in, by session. A watch that is opened again resumes at the last revision, and tells what came since. */
export function foldRoster(story: Story, fold: Fold<Map<number, number>>): Promise<void> {
  const roster = new Map<number, number>();
  let position: EventPosition | undefined;
  const open = () => as(story, WATCHED).watchLivestream(WatchLivestreamRequest.fromPartial({
    livestreamId: ID, kinds: [LivestreamEventKind.LIVESTREAM_EVENT_KIND_MEMBERSHIP], resumeFrom: position,
  }));
  return fold.run(open, (message: WatchLivestreamResponse) => {
    expect(!message.reset || !position, "a reset in spite of a position");
    sessions(message.roster?.viewers ?? []).forEach((session, node) => roster.set(node, session));
    for (const { viewerJoined, viewerLeft } of message.batch?.events ?? []) {
      if (viewerJoined?.viewer) {
        roster.set(viewerJoined.viewer.nodeId, viewerJoined.viewer.sessionId);
      } else if (viewerLeft) {
        expect(roster.get(viewerLeft.nodeId) === viewerLeft.sessionId, "who left was in:", viewerLeft);
        roster.delete(viewerLeft.nodeId);
      }
    }
    // Only a complete state can be resumed from.
    if (!message.snapshotComplete && !position) {
      return undefined;
    }
    position = { epoch: message.epoch, revision: message.revision };
    return new Map(roster);
  });
}
