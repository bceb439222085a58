"""Publishing across the ages of streams."""

import queue
import threading
import time

import grpc

from common import expect, planned
from starling.livestream.v1 import livestream_pb2 as livestream
from starling.swarm.v1 import swarm_pb2 as swarm

UPDATES, PER_SECOND = 600, 30


def payload(number):
    return b"update %d" % number


class Publication:
    """Sends the updates at an even pace, each under its number. What is not acknowledged is kept, and sent again on
    the next stream unless the server says there that it has it."""

    def __init__(self, stub, opening, begun, limits):
        self.stub, self.opening, self.begun, self.limits = stub, opening, begun, limits
        self.lock = threading.Lock()
        self.kept = []
        self.outbox = None  # of the stream that is open
        self.sent, self.carried, self.keyframe = 0, 0, False

    def run(self):
        """Returns how often the stream was opened again, and how many updates were carried over."""
        threading.Thread(target=self.pace, daemon=True).start()
        reopenings = 0
        while not self.stream():
            reopenings += 1
        return reopenings, self.carried

    def pace(self):
        began = time.monotonic()
        for number in range(1, UPDATES + 1):
            time.sleep(max(0, began + number / PER_SECOND - time.monotonic()))
            draft = swarm.UpdateDraft(
                channel=swarm.UPDATE_CHANNEL_VISUAL, payload=payload(number), publisher_sequence=number)
            with self.lock:
                self.kept.append(draft)
                self.sent = number
                if self.outbox:
                    self.send(draft)
            # Whoever has no position yet begins at the newest keyframe: let that be the first update.
            self.begun.wait()

    def send(self, draft):
        draft.keyframe, self.keyframe = self.keyframe, False
        self.outbox.put(livestream.PublishUpdatesRequest(update=draft))

    def stream(self):
        """One stream; true when everything was acknowledged."""
        outbox, goodbye = queue.SimpleQueue(), None
        outbox.put(self.opening)
        try:
            for answer in self.stub.PublishUpdates(iter(outbox.get, None)):
                with self.lock:
                    goodbye = self.hear(answer, outbox) or goodbye
                    if self.sent == UPDATES and not self.kept:
                        return True
            raise AssertionError("the publish stream ended")
        except grpc.RpcError as error:
            expect(planned(goodbye, error), "the publish stream ended:", goodbye, error)
            return False
        finally:
            with self.lock:
                self.outbox = None
            outbox.put(None)  # ends the stream

    def hear(self, answer, outbox):
        what = answer.WhichOneof("event")
        expect(what not in ("rejected", "revoked"), "the server says", answer)
        if what == "opened":
            granted = answer.opened.channels[0]
            expect(granted.max_payload_bytes == self.limits.max_payload_bytes, "the largest payload:", granted)
            expect(answer.opened.heartbeat_interval == self.limits.heartbeat_interval, "the heartbeat:", answer)
            self.acknowledged(granted.last_publisher_sequence)
            self.outbox, self.keyframe = outbox, granted.keyframe_wanted
            self.carried += len(self.kept)
            for draft in self.kept:
                self.send(draft)
        elif what == "ack":
            self.acknowledged(answer.ack.channels[0].accepted_through)
        elif what == "keyframe_request":
            self.keyframe = True
        return answer.goodbye.reason if what == "goodbye" else None

    def acknowledged(self, through):
        self.kept = [draft for draft in self.kept if draft.publisher_sequence > through]
