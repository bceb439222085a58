"""What the parts of the story share."""

import grpc

from starling.swarm.v1 import swarm_pb2 as swarm


def expect(holds, *what):
    if not holds:
        raise AssertionError(" ".join(map(str, what)))


def planned(goodbye, error):
    """Whether a stream ended of its age: the same server goes on at once."""
    return goodbye == swarm.GOODBYE_REASON_STREAM_AGE and error.code() == grpc.StatusCode.UNAVAILABLE
