#!/usr/bin/env python3
"""Imports every generated module, and has client.py talk to a servicer of the same code.

Run with the generated code and this directory on PYTHONPATH.
"""

import importlib
from concurrent import futures

import grpc

import client

for package in ("swarm", "livestream", "group"):
    for suffix in ("pb2", "pb2_grpc"):
        importlib.import_module(f"starling.{package}.v1.{package}_{suffix}")

from starling.livestream.v1 import livestream_pb2, livestream_pb2_grpc


class Echo(livestream_pb2_grpc.LivestreamServiceServicer):
    """Delivers to a subscriber what was published."""

    published = []

    def JoinLivestream(self, request, context):
        return livestream_pb2.JoinLivestreamResponse(session_id=request.node_id)

    def PublishUpdate(self, request, context):
        self.published.append(request.update.payload)
        return livestream_pb2.PublishUpdateResponse()

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
    received = client.talk(livestream_pb2_grpc.LivestreamServiceStub(connection))
server.stop(1).wait()
assert received == b"hello", received
