#!/usr/bin/env python3
"""Sound and chat beside a video: who publishes them, and a viewer that gets all three and is cut.

A viewer at the server itself sees the video; for each frame the broadcaster publishes two updates on AUDIO, by a
stream of its own beside that of the video, and for every few frames the viewers write on CHAT. Another viewer
subscribes to VISUAL, AUDIO and CHAT at another address, where its connections are cut. Before it resumes, by the loop
of examples/python/resuming_subscriber.py, it writes on CHAT, so that each cut has something to miss. It must get on
each channel every update once, in order:

- VISUAL: the video that was given, byte for byte;
- AUDIO and CHAT: whatever was acknowledged, each at the position that the acknowledgement named, and nothing that
  was not sent.

It ends with the livestream. The code generated from proto/ and the example must be on PYTHONPATH.
"""

import argparse
import asyncio
import io
import pathlib
import sys

import grpc
from resuming_subscriber import OPTIONS, Viewer, details
from starling.livestream.v1 import livestream_pb2 as livestream
from starling.livestream.v1 import livestream_pb2_grpc as services
from starling.swarm.v1 import swarm_pb2 as swarm

BROADCASTER, LISTENER, SPEAKER = 1, 2_001, 2_002
SOUNDS = 2  # for each frame
FRAMES_PER_MESSAGE = 12  # of chat: well below its quota, two authors


class Wrong(Exception):
    """The server did not do what it must."""


def check(holds, *what):
    if not holds:
        raise Wrong(" ".join(map(str, what)))


class Listener(Viewer):
    """The viewer that is cut."""

    CHANNELS = [swarm.CHANNEL_VISUAL, swarm.CHANNEL_AUDIO, swarm.CHANNEL_CHAT]

    def __init__(self, livestream_id, speaker):
        super().__init__(livestream_id, LISTENER, io.BytesIO())
        self.speaker = speaker
        self.subscribed = asyncio.Event()
        self.subscriptions = []  # updates that each one got, by channel
        self.got = {channel: [] for channel in self.CHANNELS}

    async def watch(self, server):
        if self.subscriptions:
            await self.speaker.write(LISTENER)
        await super().watch(server)

    def take(self, delivery):
        kind = delivery.WhichOneof("item")
        check(kind != "gap", "a gap:", delivery)
        if kind == "subscribed":
            self.subscriptions.append(dict.fromkeys(self.CHANNELS, 0))
            self.subscribed.set()
        elif kind == "update":
            channel = delivery.update.position.channel
            self.subscriptions[-1][channel] += 1
            self.got[channel].append(delivery.update)
        return super().take(delivery)


def name(channel):
    return swarm.Channel.Name(channel).removeprefix("CHANNEL_")


def sound(number):
    """Of the size of 20 ms of sound at 64 kbit/s."""
    return b"sound %d " % number + bytes((number + index) % 251 for index in range(160))


class Speaker:
    """Publishes while the video runs."""

    def __init__(self, server, livestream_id):
        self.server, self.livestream_id = server, livestream_id
        self.sounds = asyncio.Queue()
        self.sounds_sent = self.sounds_acknowledged = 0
        self.term = None
        self.writing = asyncio.Lock()
        self.messages = []  # of chat: (author, payload), as accepted
        self.ended = False

    async def run(self):
        who = {"livestream_id": self.livestream_id, "node_id": SPEAKER}
        joined = await self.server.JoinLivestream(livestream.JoinLivestreamRequest(**who))
        publishing = asyncio.create_task(self.publish_sounds())
        frames = 0
        async for message in self.server.SubscribeUpdates(livestream.SubscribeUpdatesRequest(
                **who, session_id=joined.session_id, channels=[swarm.CHANNEL_VISUAL])):
            for delivery in message.deliveries:
                if delivery.WhichOneof("item") != "update":
                    continue
                for _ in range(SOUNDS):
                    self.sounds.put_nowait(swarm.UpdateDraft(
                        channel=swarm.CHANNEL_AUDIO, payload=sound(self.sounds_sent)))
                    self.sounds_sent += 1
                frames += 1
                if frames % FRAMES_PER_MESSAGE == 0:
                    await self.write((LISTENER, SPEAKER)[frames // FRAMES_PER_MESSAGE % 2])
        await publishing

    async def write(self, author):
        async with self.writing:
            if self.ended:
                return
            payload = b"message %d" % len(self.messages)
            draft = swarm.UpdateDraft(channel=swarm.CHANNEL_CHAT, payload=payload)
            try:
                answer = await self.server.PublishUpdate(livestream.PublishUpdateRequest(
                    livestream_id=self.livestream_id, node_id=author, update=draft))
            except grpc.aio.AioRpcError as error:
                # The livestream ends with the video, whoever still writes.
                check(details(error)[0] == "ENDED", "CHAT is refused:", error)
                self.ended = True
                return
            self.messages.append((author, payload))
            at = answer.receipt.position
            check((at.source_node_id, at.term, at.sequence) == (0, 0, len(self.messages)), "CHAT was accepted at", at)

    async def publish_sounds(self):
        async def requests():
            yield livestream.PublishUpdatesRequest(open=livestream.PublishOpen(
                livestream_id=self.livestream_id, node_id=BROADCASTER, channels=[swarm.CHANNEL_AUDIO]))
            while True:
                yield livestream.PublishUpdatesRequest(update=await self.sounds.get())

        goodbye = None
        async for message in self.server.PublishUpdates(requests()):
            event = message.event.WhichOneof("event")
            check(event not in ("rejected", "revoked"), "AUDIO:", message.event)
            if event == "opened":
                (granted,) = message.event.opened.channels
                self.term = granted.term
            elif event == "ack":
                (ack,) = message.event.ack.channels
                check(ack.position.term == self.term and ack.position.sequence == ack.accepted_through, "AUDIO:", ack)
                self.sounds_acknowledged = ack.accepted_through
            elif event == "goodbye":
                goodbye = message.event.goodbye.reason
        check(goodbye == swarm.GOODBYE_REASON_ENDED, "the stream of AUDIO ended with", goodbye)


def judge(listener, speaker, video):
    visual, audio, chat = (listener.got[channel] for channel in Listener.CHANNELS)
    for channel, got in listener.got.items():
        at = [(update.position.term, update.position.sequence) for update in got]
        check(at == [(at[0][0], 1 + index) for index in range(len(at))], name(channel), "has the positions", at)

    check(b"".join(update.payload for update in visual) == video, "VISUAL is not the video")

    sent, acknowledged = speaker.sounds_sent, speaker.sounds_acknowledged
    check(acknowledged <= len(audio) <= sent, f"{len(audio)} of AUDIO, {acknowledged} acknowledged, {sent} sent")
    check({update.position.term for update in audio} == {speaker.term}, "AUDIO of another term than", speaker.term)
    check([update.payload for update in audio] == [sound(number) for number in range(len(audio))], "AUDIO differs")
    check(len(audio) >= len(visual), "hardly any AUDIO:", len(audio))

    heard = [(update.author_node_id, update.payload) for update in chat]
    check(heard == speaker.messages, f"CHAT: heard\n{heard}\naccepted\n{speaker.messages}")
    check(len(heard) >= 10, "hardly any CHAT:", len(heard))

    # All of them ran while updates flowed; one that resumed has a message written before it at least.
    for counts in listener.subscriptions:
        check(all(counts.values()), "a subscription without updates on a channel:", counts)


async def run(options, video):
    def told(what):
        print(what, file=sys.stderr)

    async with grpc.aio.insecure_channel(options.server, options=OPTIONS) as channel, asyncio.TaskGroup() as group:
        speaker = Speaker(services.LivestreamServiceStub(channel), options.livestream)
        listener = Listener(options.livestream, speaker)
        group.create_task(listener.run(options.through))
        # CHAT starts live.
        await listener.subscribed.wait()
        group.create_task(speaker.run())
    judge(listener, speaker, video)
    for counts in listener.subscriptions:
        told("subscribed for " + ", ".join(f"{count} {name(channel)}" for channel, count in counts.items()))
    visual, audio, chat = (len(got) for got in listener.got.values())
    told(f"{visual} updates of video, {audio} of sound ({speaker.sounds_acknowledged} acknowledged), {chat} of chat, "
         f"each once and in order, in {len(listener.subscriptions)} subscriptions")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True, metavar="HOST:PORT")
    parser.add_argument("--through", required=True, metavar="HOST:PORT", help="where the listener is served")
    parser.add_argument("--livestream", type=int, required=True, metavar="ID")
    parser.add_argument("--video", type=pathlib.Path, required=True, metavar="FILE", help="what VISUAL must be")
    options = parser.parse_args()
    try:
        asyncio.run(run(options, options.video.read_bytes()))
    except* Wrong as wrong:
        sys.exit("\n".join(f"FAILED: {error}" for error in wrong.exceptions))


if __name__ == "__main__":
    main()
