#!/usr/bin/env python3
"""Watches a livestream over grpc.aio, writes its video to a file, and survives cuts.

Join, subscribe, note the last position of each source and channel; when the stream is cut, wait with jitter and
resume there. Exits with 0 when the livestream has ended, with 1 when the server means it: stay away.

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
JOIN_AGAIN = {"LEASE_EXPIRED", "NOT_A_MEMBER"}
# Pings find out that a connection is dead.
OPTIONS = [("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 10_000),
           ("grpc.max_receive_message_length", 16 << 20)]


class BrokeOff(Exception):
    """The stream ended without a goodbye."""


def details(error):
    """The stable reason of an error, and how long the server asks to wait, in seconds."""
    reason, asked = "", 0.0
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(retry):
            asked = retry.retry_delay.ToTimedelta().total_seconds()
    return reason, asked


class Viewer:
    """What outlives a stream."""

    CHANNELS = [swarm.CHANNEL_VISUAL]

    def __init__(self, livestream_id, node_id, output):
        self.livestream_id, self.node_id, self.output = livestream_id, node_id, output
        self.session_id = 0  # 0 = join first
        self.epoch = 0
        self.positions = {}  # (source, channel) -> (term, sequence)
        self.tries = 0
        self.updates = self.gaps = 0

    async def run(self, server):
        while True:
            try:
                # A channel of its own each time: behind a balancer perhaps another server.
                async with grpc.aio.insecure_channel(server, options=OPTIONS) as channel:
                    await self.watch(services.LivestreamServiceStub(channel))
                return
            except grpc.aio.AioRpcError as error:
                reason, asked = details(error)
                if reason in JOIN_AGAIN:
                    self.session_id = 0
                elif error.code() not in COME_BACK:
                    raise
                why = error.details()
            except BrokeOff as error:
                asked, why = 0.0, error
            # Full jitter, on top of what the server asks for: nobody comes back together.
            bound = max(asked, min(FIRST_WAIT_S * 2 ** min(self.tries, 20), LONGEST_WAIT_S))
            self.tries += 1
            wait = asked + random.uniform(0, bound)
            print(f"cut: {why}; resuming in {wait:.1f} s", file=sys.stderr)
            await asyncio.sleep(wait)

    async def watch(self, server):
        """Returns when the livestream has ended."""
        who = {"livestream_id": self.livestream_id, "node_id": self.node_id}
        if not self.session_id:
            self.session_id = (await server.JoinLivestream(livestream.JoinLivestreamRequest(**who))).session_id
        subscribe = livestream.SubscribeUpdatesRequest(
            **who, session_id=self.session_id, channels=self.CHANNELS, resume_from=self.resume_point())
        async for message in server.SubscribeUpdates(subscribe):
            for delivery in message.deliveries:
                if self.take(delivery):
                    return
        raise BrokeOff("the stream broke off")

    def resume_point(self):
        if not self.epoch:
            return None
        positions = [swarm.Position(source_node_id=source, channel=channel, term=term, sequence=sequence)
                     for (source, channel), (term, sequence) in self.positions.items()]
        return swarm.ResumePoint(epoch=self.epoch, positions=positions)

    def take(self, delivery):
        """Handles one delivery; true at the end of the livestream."""
        kind = delivery.WhichOneof("item")
        if kind == "subscribed":
            subscribed = delivery.subscribed
            # All there is to know, also when it is another epoch than before.
            self.epoch = subscribed.epoch
            self.positions = {(at.source_node_id, at.channel): (at.term, at.sequence) for at in subscribed.positions}
            for waiting in subscribed.waiting_for_keyframe:
                # Without a position it starts anew, at a keyframe.
                self.positions.pop((waiting.source_node_id, waiting.channel), None)
        elif kind == "update":
            at = delivery.update.position
            self.output.write(delivery.update.payload)
            self.positions[at.source_node_id, at.channel] = (at.term, at.sequence)
            self.updates, self.tries = self.updates + 1, 0
        elif kind == "gap":
            gap = delivery.gap
            print(f"gap: {swarm.GapReason.Name(gap.reason)}", file=sys.stderr)
            if gap.HasField("before") and gap.before.sequence:
                self.positions[gap.source_node_id, gap.channel] = (gap.before.term, gap.before.sequence - 1)
            self.gaps += 1
        elif kind == "heartbeat":
            self.tries = 0
        elif kind == "goodbye":
            # After other goodbyes comes a status that says what to do.
            return delivery.goodbye.reason in (swarm.GOODBYE_REASON_ENDED, swarm.GOODBYE_REASON_LEFT)
        return False


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
    except KeyboardInterrupt:
        sys.exit(130)
    print(f"received {viewer.updates} updates, {viewer.gaps} gaps", file=sys.stderr)


if __name__ == "__main__":
    main()
