#!/usr/bin/env python3
"""Watches a livestream over grpc.aio, writes its video to a file, and survives cuts.

Join, subscribe, note the last position of each source and channel; when the stream is cut, wait with jitter and
resume there, at once if the server asks for no wait. Exits with 0 when the livestream has ended and everything came,
with 1 when its end was missed, or when the server means it: stay away.

How to generate the imported code stands in the README beside this file.
"""

import argparse
import asyncio
import random
import sys

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from starling.livestream.v1 import livestream_pb2 as livestream
from starling.livestream.v1 import livestream_pb2_grpc as services
from starling.swarm.v1 import swarm_pb2 as swarm

FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 10.0
# UNKNOWN and CANCELLED: the connection broke, or the server cut a reader that made no progress. grpc says INTERNAL
# for some ways in which a stream is reset.
COME_BACK = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN,
             grpc.StatusCode.INTERNAL}
JOIN_AGAIN = {"NOT_A_MEMBER"}
# Pings find out that a connection is dead.
OPTIONS = [("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 10_000),
           ("grpc.max_receive_message_length", 16 << 20)]


class BrokeOff(Exception):
    """The stream ended without a goodbye."""


class EndMissed(Exception):
    """The livestream ended during a cut, and its last updates did not come."""


def details(error):
    """The stable reason of an error; how long the server asks to wait, in seconds, None = it does not say; and where
    everything ended, if the reason is ENDED."""
    reason, asked, last = "", None, swarm.LastPositions()
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(retry):
            asked = retry.retry_delay.ToTimedelta().total_seconds()
        else:
            detail.Unpack(last)
    return reason, asked, last


class Viewer:
    """What outlives a stream."""

    CHANNELS = [swarm.UPDATE_CHANNEL_VISUAL]

    def __init__(self, livestream_id, node_id, output):
        self.livestream_id, self.node_id, self.output = livestream_id, node_id, output
        self.session_id = 0  # 0 = join first
        self.epoch = 0
        self.positions = {}  # (source, channel) -> (term, sequence), the last one that came or was lost
        self.open_gaps = {}  # (source, channel) -> the Gap whose end is not known yet
        self.tries = 0
        self.updates = self.gaps = 0

    async def run(self, server):
        channel = None
        try:
            while True:
                # After a failure another connection: behind a balancer perhaps another server.
                channel = channel or grpc.aio.insecure_channel(server, options=OPTIONS)
                try:
                    await self.watch(services.LivestreamServiceStub(channel))
                    return
                except grpc.aio.AioRpcError as error:
                    reason, asked, last = details(error)
                    if reason == "ENDED":
                        self.check_end(last)
                        return
                    if reason in JOIN_AGAIN:
                        self.session_id = 0
                    elif error.code() not in COME_BACK:
                        raise
                    why = error.details()
                except BrokeOff as error:
                    reason, asked, why = "", None, error
                if reason != "STREAM_AGE":
                    await channel.close()
                    channel = None
                wait = self.wait(asked)
                print(f"cut: {why}; resuming in {wait:.1f} s", file=sys.stderr)
                await asyncio.sleep(wait)
        finally:
            if channel:
                await channel.close()

    def wait(self, asked):
        """How long to wait before the next try, in seconds."""
        self.tries += 1
        if asked == 0 and self.tries == 1:
            # The server is ready.
            return 0.0
        # Full jitter, on top of what the server asks for: nobody comes back together.
        asked = asked or 0.0
        bound = min(FIRST_WAIT_S * 2 ** min(self.tries - 1, 20), LONGEST_WAIT_S)
        return asked + random.uniform(0, max(asked, bound))

    async def watch(self, server):
        """Returns when the livestream has ended."""
        who = {"livestream_id": self.livestream_id, "node_id": self.node_id}
        if not self.session_id:
            self.session_id = (await server.JoinLivestream(livestream.JoinLivestreamRequest(**who))).session_id
        subscribe = livestream.SubscribeUpdatesRequest(
            **who, session_id=self.session_id, channels=self.CHANNELS, resume_from=self.resume_from())
        async for message in server.SubscribeUpdates(subscribe):
            for delivery in message.deliveries:
                if self.take(delivery):
                    return
        raise BrokeOff("the stream broke off")

    def resume_from(self):
        if not self.epoch:
            return None
        positions = [swarm.UpdatePosition(source_node_id=source, channel=channel, term=term, sequence=sequence)
                     for (source, channel), (term, sequence) in self.positions.items()]
        return swarm.SubscriptionPosition(epoch=self.epoch, positions=positions, open_gaps=self.open_gaps.values())

    def check_end(self, last):
        """Whoever has come to the last position of each source and channel has everything."""
        reached = all(self.positions.get((at.source_node_id, at.channel), (0, 0)) >= (at.term, at.sequence)
                      for at in last.positions if at.channel in self.CHANNELS)
        if self.epoch != last.epoch or not reached:
            raise EndMissed("the livestream ended during a cut; its last updates are missing")

    def take(self, delivery):
        """Handles one delivery; true at the end of the livestream."""
        kind = delivery.WhichOneof("item")
        if kind == "subscribed":
            subscribed = delivery.subscribed
            if self.epoch != subscribed.epoch:
                # Positions of another epoch mean nothing.
                self.epoch, self.positions, self.open_gaps = subscribed.epoch, {}, {}
            # What waits for its keyframe stays where it was: further on would be in the middle of a run.
            waiting = {(at.source_node_id, at.channel) for at in subscribed.waiting_for_keyframe}
            for at in subscribed.positions:
                if (at.source_node_id, at.channel) not in waiting:
                    self.reach(at.source_node_id, at.channel, at.term, at.sequence)
        elif kind == "update":
            at = delivery.update.position
            self.output.write(delivery.update.payload)
            self.reach(at.source_node_id, at.channel, at.term, at.sequence)
            self.updates, self.tries = self.updates + 1, 0
        elif kind == "gap":
            self.lose(delivery.gap)
        elif kind == "heartbeat":
            self.tries = 0
        elif kind == "goodbye":
            # After other goodbyes comes a status that says what to do.
            return delivery.goodbye.reason in (swarm.GOODBYE_REASON_ENDED, swarm.GOODBYE_REASON_LEFT)
        return False

    def reach(self, source, channel, term, sequence):
        self.open_gaps.pop((source, channel), None)
        self.positions[source, channel] = (term, sequence)

    def lose(self, gap):
        """A gap is told once its end is known; if a cut comes first, the resume names it."""
        key = gap.source_node_id, gap.channel
        if not gap.HasField("before"):
            if gap.reason in (swarm.GAP_REASON_EPOCH_CHANGED, swarm.GAP_REASON_UNKNOWN_POSITION):
                # The server does not know the position.
                self.positions.pop(key, None)
            self.open_gaps[key] = gap
            return
        lost = gap.count if gap.HasField("count") else "an unknown number of"
        print(f"lost {lost} updates: {swarm.GapReason.Name(gap.reason)}", file=sys.stderr)
        self.gaps += 1
        if gap.before.sequence:
            self.reach(*key, gap.before.term, gap.before.sequence - 1)
        else:
            self.open_gaps.pop(key, None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default="127.0.0.1:50051", help="host:port")
    parser.add_argument("--livestream", type=int, required=True)
    parser.add_argument("--node", type=int, default=random.randrange(1, 1 << 53))
    parser.add_argument("--output", required=True, help="where to write the video")
    options = parser.parse_args()
    try:
        with open(options.output, "wb") as output:
            viewer = Viewer(options.livestream, options.node, output)
            asyncio.run(viewer.run(options.server))
    except grpc.aio.AioRpcError as error:
        sys.exit(f"the server says {error.code().name}: {error.details()}")
    except EndMissed as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    print(f"received {viewer.updates} updates, {viewer.gaps} gaps", file=sys.stderr)


if __name__ == "__main__":
    main()
