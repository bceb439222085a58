#!/usr/bin/env python3
"""Imports every generated module, and has client.py talk to a servicer of the same code.

Run with the generated code and this directory on PYTHONPATH.
"""

import contextlib
import importlib
import io
from concurrent import futures

import grpc

import client

for name in ("swarm.v1.swarm", "swarm.v1.server", "livestream.v1.livestream", "group.v1.group"):
    for suffix in ("pb2", "pb2_grpc"):
        importlib.import_module(f"starling.{name}_{suffix}")

from starling.livestream.v1 import livestream_pb2, livestream_pb2_grpc


class Echo(livestream_pb2_grpc.LivestreamServiceServicer):
    """Delivers to a subscriber what was published."""

    published = []

    def JoinLivestream(self, request, context):
        state = livestream_pb2.LIVESTREAM_STATE_ACTIVE
        return livestream_pb2.JoinLivestreamResponse(session_id=request.node_id, livestream={"state": state})

    def PublishUpdates(self, requests, context):
        for request in requests:
            answer = livestream_pb2.PublishUpdatesResponse()
            if request.HasField("update"):
                self.published.append(request.update.payload)
                answer.ack.channels.add().accepted_through = len(self.published)
            else:
                answer.opened.session_id = request.open.node_id
            yield answer

    def SubscribeUpdates(self, request, context):
        for payload in self.published:
            answer = livestream_pb2.SubscribeUpdatesResponse()
            answer.deliveries.add().update.payload = payload
            yield answer


server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
livestream_pb2_grpc.add_LivestreamServiceServicer_to_server(Echo(), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
with grpc.insecure_channel(f"127.0.0.1:{port}") as connection:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        client.publish(livestream_pb2_grpc.LivestreamServiceStub(connection))
        client.watch(livestream_pb2_grpc.LivestreamServiceStub(connection))
server.stop(1).wait()
assert said.getvalue() == "accepted\nLIVESTREAM_STATE_ACTIVE\nb'hello'\n", said.getvalue()
