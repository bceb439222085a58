"""What the parts of the story share."""

import os
import pathlib

import grpc

from starling.swarm.v1 import swarm_pb2 as swarm

# The directory with the authority that vouches for the server, and the tokens; without it neither is needed.
TRUST = pathlib.Path(os.environ["STORY_TRUST"]) if "STORY_TRUST" in os.environ else None


def expect(holds, *what):
    if not holds:
        raise AssertionError(" ".join(map(str, what)))


def planned(goodbye, error):
    """Whether a stream ended of its age: the same server goes on at once. With a token it is the token's age."""
    if TRUST:
        return goodbye == swarm.GOODBYE_REASON_TOKEN_EXPIRED and error.code() == grpc.StatusCode.UNAUTHENTICATED
    return goodbye == swarm.GOODBYE_REASON_STREAM_AGE and error.code() == grpc.StatusCode.UNAVAILABLE


class TokenFile(grpc.AuthMetadataPlugin):
    """A token in a file, which is read for each call: others replace it meanwhile."""

    def __init__(self, path):
        self.path = path

    def __call__(self, context, callback):
        callback((("authorization", "Bearer " + self.path.read_text().strip()),), None)


def connect(address, name):
    """A connection of its own, which shows the token of this name."""
    # By no means a shared one: the old one might reach its age just then, which ends streams otherwise.
    options = [("grpc.use_local_subchannel_pool", 1)]
    if not TRUST:
        return grpc.insecure_channel(address, options)
    authority = grpc.ssl_channel_credentials((TRUST / "ca.pem").read_bytes())
    token = grpc.metadata_call_credentials(TokenFile(TRUST / f"{name}.jwt"))
    return grpc.secure_channel(address, grpc.composite_channel_credentials(authority, token), options)
