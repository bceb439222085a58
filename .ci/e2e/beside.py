#!/usr/bin/env python3
"""Sound and chat beside a video: who publishes them, and a viewer that gets all three and is cut.

A viewer at the server itself sees the video; for each frame the broadcaster publishes two updates on AUDIO, by a
stream of its own beside that of the video, and for every few frames the viewers write on CHAT. Another viewer
subscribes to VISUAL, AUDIO and CHAT at another address, where its connections are cut. Before it resumes, by the loop
of examples/python/resuming_subscriber.py, it writes on CHAT, so that each cut has something to miss. It must get on
each channel every update once, in order:

- VISUAL: the video that was given, byte for byte;
- AUDIO and CHAT: what was published, each message at the position that its receipt named.

The livestream must be kept when the video ends. Who closes standard input says that the publisher of the video is
done and that the other viewers have come to its end; the livestream is ended when the listener has, too. The code
generated from proto/ and the example must be on PYTHONPATH.
"""

import argparse
import asyncio
import io
import pathlib
import sys

import grpc
from resuming_subscriber import OPTIONS, Viewer
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

    CHANNELS = [swarm.UPDATE_CHANNEL_VISUAL, swarm.UPDATE_CHANNEL_AUDIO, swarm.UPDATE_CHANNEL_CHAT]

    def __init__(self, livestream_id, speaker, video_bytes):
        super().__init__(livestream_id, LISTENER, io.BytesIO())
        self.speaker = speaker
        self.subscribed = asyncio.Event()
        self.video_bytes, self.seen_all = video_bytes, asyncio.Event()
        self.subscriptions = []  # updates that each one got, by channel
        self.got = {channel: [] for channel in self.CHANNELS}

    async def watch(self, server):
        if self.subscriptions:
            await self.speaker.write(LISTENER)
        await super().watch(server)

    def take(self, delivery):
        kind = delivery.WhichOneof("item")
        check(kind != "gap", "a gap for the listener:", delivery)
        if kind == "subscribed":
            self.subscriptions.append(dict.fromkeys(self.CHANNELS, 0))
            self.subscribed.set()
        elif kind == "update":
            channel = delivery.update.position.channel
            self.subscriptions[-1][channel] += 1
            self.got[channel].append(delivery.update)
            if channel == swarm.UPDATE_CHANNEL_VISUAL:
                self.video_bytes -= len(delivery.update.payload)
                if self.video_bytes <= 0:
                    self.seen_all.set()
        return super().take(delivery)


def name(channel):
    return swarm.UpdateChannel.Name(channel).removeprefix("UPDATE_CHANNEL_")


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
        self.messages = []  # of chat: (author, payload)

    async def run(self, video_bytes):
        who = {"livestream_id": self.livestream_id, "node_id": SPEAKER}
        joined = await self.server.JoinLivestream(livestream.JoinLivestreamRequest(**who))
        updates = self.server.SubscribeUpdates(livestream.SubscribeUpdatesRequest(
            **who, session_id=joined.session_id, channels=[swarm.UPDATE_CHANNEL_VISUAL]))
        await asyncio.gather(self.publish_sounds(), self.see(updates, video_bytes))
        check(self.sounds_acknowledged == self.sounds_sent, "AUDIO: acknowledged through", self.sounds_acknowledged)

    async def end(self):
        await self.server.EndLivestream(livestream.EndLivestreamRequest(
            livestream_id=self.livestream_id, node_id=BROADCASTER))

    async def see(self, updates, video_bytes):
        frames = 0
        async for message in updates:
            for delivery in message.deliveries:
                kind = delivery.WhichOneof("item")
                check(kind not in ("gap", "goodbye"), "the speaker, after", frames, "frames:", delivery)
                if kind != "update":
                    continue
                for _ in range(SOUNDS):
                    self.sounds.put_nowait(sound(self.sounds_sent))
                    self.sounds_sent += 1
                frames += 1
                if frames % FRAMES_PER_MESSAGE == 0:
                    await self.write((LISTENER, SPEAKER)[frames // FRAMES_PER_MESSAGE % 2])
                video_bytes -= len(delivery.update.payload)
            if video_bytes <= 0:
                self.sounds.put_nowait(None)
                return

    async def write(self, author):
        async with self.writing:
            payload = b"message %d" % len(self.messages)
            draft = swarm.UpdateDraft(channel=swarm.UPDATE_CHANNEL_CHAT, payload=payload)
            answer = await self.server.PublishUpdate(livestream.PublishUpdateRequest(
                livestream_id=self.livestream_id, node_id=author, update=draft))
            self.messages.append((author, payload))
            at = answer.receipt.position
            check((at.source_node_id, at.term, at.sequence) == (0, 0, len(self.messages)), "CHAT was accepted at", at)

    async def publish_sounds(self):
        async def requests():
            yield livestream.PublishUpdatesRequest(open=livestream.PublishOpen(
                livestream_id=self.livestream_id, node_id=BROADCASTER, channels=[swarm.UPDATE_CHANNEL_AUDIO]))
            while (payload := await self.sounds.get()) is not None:
                yield livestream.PublishUpdatesRequest(
                    update=swarm.UpdateDraft(channel=swarm.UPDATE_CHANNEL_AUDIO, payload=payload))

        async for message in self.server.PublishUpdates(requests()):
            event = message.WhichOneof("event")
            check(event not in ("rejected", "revoked", "goodbye"), "AUDIO:", message)
            if event == "opened":
                (granted,) = message.opened.channels
                self.term = granted.term
            elif event == "ack":
                (ack,) = message.ack.channels
                check(ack.position.term == self.term and ack.position.sequence == ack.accepted_through, "AUDIO:", ack)
                self.sounds_acknowledged = ack.accepted_through


def judge(listener, speaker, video):
    visual, audio, chat = (listener.got[channel] for channel in Listener.CHANNELS)
    for channel, got in listener.got.items():
        at = [(update.position.term, update.position.sequence) for update in got]
        check(at == [(at[0][0], 1 + index) for index in range(len(at))], name(channel), "has the positions", at)

    check(b"".join(update.payload for update in visual) == video, "VISUAL is not the video")

    check({update.position.term for update in audio} == {speaker.term}, "AUDIO of another term than", speaker.term)
    check([update.payload for update in audio] == [sound(number) for number in range(speaker.sounds_sent)],
          f"AUDIO: {len(audio)} updates, {speaker.sounds_sent} published, or they differ")

    heard = [(update.author_node_id, update.payload) for update in chat]
    check(heard == speaker.messages, f"CHAT: heard\n{heard}\npublished\n{speaker.messages}")

    # Each cut came while updates flowed, and had something to miss: a message at least.
    for counts in listener.subscriptions[1:]:
        check(all(counts.values()), "resumed without updates on a channel:", counts)


async def run(options, video):
    def told(what):
        print(what, file=sys.stderr)

    async with grpc.aio.insecure_channel(options.server, options=OPTIONS) as channel, asyncio.TaskGroup() as group:
        speaker = Speaker(services.LivestreamServiceStub(channel), options.livestream)
        listener = Listener(options.livestream, speaker, len(video))
        group.create_task(listener.run(options.through))
        # CHAT starts live.
        await listener.subscribed.wait()
        await speaker.run(len(video))
        await listener.seen_all.wait()
        await asyncio.to_thread(sys.stdin.read)
        await speaker.end()
    judge(listener, speaker, video)
    for counts in listener.subscriptions:
        told("subscribed for " + ", ".join(f"{count} {name(channel)}" for channel, count in counts.items()))
    visual, audio, chat = (len(got) for got in listener.got.values())
    told(f"{visual} updates of video, {audio} of sound, {chat} of chat, "
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
