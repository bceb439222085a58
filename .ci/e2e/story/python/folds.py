"""What watches come to: their messages folded, and opened again when a stream ends of its age."""

import threading

import grpc

from common import expect, planned
from starling.swarm.v1 import swarm_pb2 as swarm


class Fold:
    def __init__(self, open_stream):
        self.open_stream = open_stream
        self.news = threading.Condition()
        self.at = {}  # the state at each revision that a message named
        self.revision = self.reopenings = 0
        self.call, self.stopped, self.ended = None, False, False

    def run(self):
        try:
            while not self.stopped:
                goodbye = None
                try:
                    self.call = self.open()
                    for message in self.call:
                        if message.HasField("goodbye"):
                            goodbye = message.goodbye.reason
                        else:
                            self.take(message)
                except grpc.RpcError as error:
                    expect(self.stopped or planned(goodbye, error), "the watch ended:", goodbye, error)
                    self.reopenings += 1
        finally:
            with self.news:
                self.ended = True
                self.news.notify_all()

    def take(self, message):
        state = self.fold(message)
        with self.news:
            if state is not None:
                self.at[message.revision], self.revision = state, message.revision
            self.news.notify_all()

    def reach(self, revision):
        """Waits until the fold is current up to a revision, or is over."""
        with self.news:
            self.news.wait_for(lambda: self.revision >= revision or self.ended)

    def stop(self):
        self.stopped = True
        self.call.cancel()


class Targets(Fold):
    """WatchTargets: topology, placement, parents, and the targets by node. A stream begins with a snapshot."""

    def open(self):
        return self.open_stream()

    @staticmethod
    def place(told):
        # Every delta tells these as they are now.
        return told.topology, told.placement, told.parent, told.backup_parent

    @classmethod
    def state(cls, listed):
        return cls.place(listed), {target.node_id: target for target in listed.targets}

    def fold(self, message):
        if message.HasField("snapshot"):
            self.now = self.state(message.snapshot)
        elif message.HasField("delta"):
            delta, targets = message.delta, dict(self.now[1])
            for removed in delta.removed:
                del targets[removed.node_id]
            targets |= {target.node_id: target for target in [*delta.updated, *delta.added]}
            self.now = self.place(delta), targets
        return self.now


class Roster(Fold):
    """WatchLivestream: the sessions by node. A stream resumes at the last revision: then it tells what came since."""

    def __init__(self, open_stream):
        super().__init__(open_stream)
        self.roster, self.position = {}, None

    def open(self):
        return self.open_stream(self.position)

    def fold(self, message):
        what = message.WhichOneof("event")
        expect(what != "reset" or self.position is None, "a reset in spite of a position")
        for viewer in message.roster.viewers:
            self.roster[viewer.node_id] = viewer.session_id
        for event in message.batch.events:
            if event.HasField("viewer_joined"):
                joined = event.viewer_joined.viewer
                self.roster[joined.node_id] = joined.session_id
            elif event.HasField("viewer_left"):
                left = event.viewer_left
                expect(self.roster.pop(left.node_id, None) == left.session_id, "who left was in:", event)
        # Only a complete state can be resumed from.
        if what == "snapshot_complete" or self.position:
            self.position = swarm.EventPosition(epoch=message.epoch, revision=message.revision)
            return dict(self.roster)
        return None
