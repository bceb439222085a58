"""What everybody writes first, beside the imports of gRPC. docs/clients/first-lines.md shows it."""

import sys

import grpc

from starling.livestream.v1 import livestream_pb2 as livestream
from starling.livestream.v1 import livestream_pb2_grpc
from starling.swarm.v1 import swarm_pb2 as swarm


def watch(stub: livestream_pb2_grpc.LivestreamServiceStub) -> None:
    joined = stub.JoinLivestream(livestream.JoinLivestreamRequest(livestream_id=7, node_id=2))
    print(livestream.LivestreamState.Name(joined.livestream.state))
    for answer in stub.SubscribeUpdates(
        livestream.SubscribeUpdatesRequest(livestream_id=7, node_id=2, session_id=joined.session_id)
    ):
        for delivery in answer.deliveries:
            if delivery.HasField("update"):
                print(delivery.update.payload)


def publish(stub: livestream_pb2_grpc.LivestreamServiceStub) -> None:
    visual = swarm.UPDATE_CHANNEL_VISUAL
    opening = livestream.PublishOpen(livestream_id=7, node_id=1, channels=[visual])
    update = swarm.UpdateDraft(channel=visual, keyframe=True, payload=b"hello")
    messages = [livestream.PublishUpdatesRequest(open=opening), livestream.PublishUpdatesRequest(update=update)]
    for answer in stub.PublishUpdates(iter(messages)):
        if answer.HasField("ack"):
            print("accepted")


if __name__ == "__main__":
    with grpc.insecure_channel(sys.argv[1]) as connection:
        publish(livestream_pb2_grpc.LivestreamServiceStub(connection))
        watch(livestream_pb2_grpc.LivestreamServiceStub(connection))
