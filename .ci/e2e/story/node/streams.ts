// Publishing and subscribing across the ages of streams.
import type { ServiceError } from "@grpc/grpc-js";
import {
  PublishUpdatesRequest, type PublishUpdatesResponse, SubscribeUpdatesRequest,
} from "./gen/starling/livestream/v1/livestream";
import { type Goodbye, SubscriptionPosition, UpdateChannel, UpdateDraft } from "./gen/starling/swarm/v1/swarm";
import { as, BROADCASTER, expect, planned, type Story, SUBSCRIBER, who } from "./client";

export const UPDATES = 600;
const PER_SECOND = 30;

const channels = [UpdateChannel.UPDATE_CHANNEL_VISUAL];
const payload = (number: number): string => `update ${number}`;

export const open = (story: Story): PublishUpdatesRequest =>
  PublishUpdatesRequest.fromPartial({ open: { ...who(story, BROADCASTER), channels } });

export const subscription = (story: Story, resumeFrom: SubscriptionPosition | undefined): SubscribeUpdatesRequest =>
  SubscribeUpdatesRequest.fromPartial({ ...who(story, SUBSCRIBER), channels, resumeFrom });

/**
 * Sends the updates at an even pace, each under its number. What is not acknowledged is kept, and sent again on the
 * next stream unless the server says there that it has it.
 */
export async function publish(story: Story): Promise<{ reopenings: number; carried: number }> {
  let kept: UpdateDraft[] = [];
  let [sent, carried, reopenings] = [0, 0, 0];
  let keyframe = false;
  let send: ((draft: UpdateDraft) => void) | undefined; // on the stream that is open
  const acknowledged = (through: number) => (kept = kept.filter((draft) => draft.publisherSequence > through));

  const began = Date.now();
  const pace = setInterval(() => {
    const due = Math.min(UPDATES, ((Date.now() - began) / 1000) * PER_SECOND);
    // Whoever has no position yet begins at the newest keyframe: let that be the first update.
    while (sent < (story.begun ? due : 1)) {
      sent++;
      const draft = UpdateDraft.fromPartial({
        channel: UpdateChannel.UPDATE_CHANNEL_VISUAL, payload: Buffer.from(payload(sent)), publisherSequence: sent,
      });
      kept.push(draft);
      send?.(draft);
    }
  }, 1000 / PER_SECOND);

  for (; ; reopenings++) {
    const stream = as(story, BROADCASTER).publishUpdates();
    stream.write(open(story));
    let goodbye: Goodbye | undefined;
    const hear = (answer: PublishUpdatesResponse) => {
      expect(!answer.rejected && !answer.revoked, "the server says", answer);
      if (answer.opened) {
        const [granted] = answer.opened.channels;
        expect(granted.maxPayloadBytes === story.limits.maxPayloadBytes, "the largest payload:", granted);
        acknowledged(granted.lastPublisherSequence);
        carried += kept.length;
        keyframe = granted.keyframeWanted;
        send = (draft) => {
          stream.write(PublishUpdatesRequest.fromPartial({ update: { ...draft, keyframe } }));
          keyframe = false;
        };
        kept.forEach(send);
      } else if (answer.ack) {
        acknowledged(answer.ack.channels[0].acceptedThrough);
      } else if (answer.keyframeRequest) {
        keyframe = true;
      }
      goodbye = answer.goodbye ?? goodbye;
    };
    try {
      for await (const answer of stream) {
        hear(answer);
        if (sent === UPDATES && kept.length === 0) {
          clearInterval(pace);
          stream.end();
          return { reopenings, carried };
        }
      }
      expect(false, "the publish stream ended");
    } catch (ended) {
      expect(planned(goodbye, ended), "the publish stream ended:", goodbye, String(ended));
    }
    send = undefined;
  }
}

/** Receives the updates, and resumes at the last position whenever a stream ends of its age. Tells how often. */
export async function subscribe(story: Story): Promise<number> {
  let resume: SubscriptionPosition | undefined;
  let next = 1;
  for (let resumes = 0; ; resumes++) {
    const stream = as(story, SUBSCRIBER).subscribeUpdates(subscription(story, resume));
    let goodbye: Goodbye | undefined;
    try {
      for await (const { deliveries } of stream) {
        for (const item of deliveries) {
          expect(!item.gap, "a gap:", item);
          if (item.subscribed && !resume) {
            // Without positions: what waits for its first keyframe has none yet.
            resume = SubscriptionPosition.fromPartial({ epoch: item.subscribed.epoch });
          } else if (item.update && resume) {
            expect(Buffer.from(item.update.payload).toString() === payload(next), "update", next, "is", item);
            resume.positions = [item.update.position!];
            story.begun = true;
            next++;
          }
          goodbye = item.goodbye ?? goodbye;
        }
        if (next > UPDATES) {
          stream.cancel();
          return resumes;
        }
      }
      expect(false, "the subscription ended");
    } catch (ended) {
      expect(planned(goodbye, ended as ServiceError), "the subscription ended:", goodbye, String(ended));
    }
  }
}
