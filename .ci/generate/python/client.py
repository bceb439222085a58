"""What everybody writes first, beside the imports of gRPC."""

import sys

import grpc

from starling.livestream.v1 import livestream_pb2, livestream_pb2_grpc
from starling.swarm.v1 import swarm_pb2


def talk(stub: livestream_pb2_grpc.LivestreamServiceStub) -> bytes:
    joined = stub.JoinLivestream(
        livestream_pb2.JoinLivestreamRequest(livestream_id=7, node_id=2, mode=livestream_pb2.VIEWER_MODE_ACTIVE)
    )
    stub.PublishUpdate(
        livestream_pb2.PublishUpdateRequest(
            livestream_id=7,
            node_id=2,
            session_id=joined.session_id,
            update=swarm_pb2.UpdateDraft(channel=swarm_pb2.UPDATE_CHANNEL_CHAT, payload=b"hello"),
        )
    )
    received = b""
    for answer in stub.SubscribeUpdates(
        livestream_pb2.SubscribeUpdatesRequest(livestream_id=7, node_id=2, session_id=joined.session_id)
    ):
        for delivery in answer.deliveries:
            if delivery.WhichOneof("item") == "update":
                received += delivery.update.payload
    return received


if __name__ == "__main__":
    with grpc.insecure_channel(sys.argv[1]) as connection:
        print(talk(livestream_pb2_grpc.LivestreamServiceStub(connection)))
