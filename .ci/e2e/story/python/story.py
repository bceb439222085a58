#!/usr/bin/env python3
"""The story of an ordinary client, with grpcio and its default settings: story.py ADDRESS PID

It creates a livestream, joins it with 20 viewers, folds what is watched under churn, publishes 600 updates and receives
them across the ages of streams and connections, reads the details of an error, sets a deadline, and tells the server
(PID) to stop. Any surprise ends it. With STORY_TRUST all of that is over TLS, each node with a token of its own that
ends within seconds.

Run with the generated code on PYTHONPATH.
"""

import concurrent.futures
import contextlib
import os
import queue
import signal
import sys
import threading
import time
import traceback

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from common import TRUST, connect, expect, planned
from folds import Roster, Targets
from publication import UPDATES, Publication, payload
from starling.livestream.v1 import livestream_pb2 as livestream
from starling.livestream.v1 import livestream_pb2_grpc as services
from starling.swarm.v1 import server_pb2 as server
from starling.swarm.v1 import server_pb2_grpc as server_services
from starling.swarm.v1 import swarm_pb2 as swarm

ID = 7
BROADCASTER, WATCHED, SUBSCRIBER, LAST = 1, 2, 3, 21  # the viewers are 2..21
LEASE = {"seconds": 300}  # most of the viewers open no stream


def detail(error, message):
    """One kind of google.rpc detail of the status; None when it is not there."""
    status = rpc_status.from_call(error)
    for packed in status.details if status else ():
        if packed.Unpack(message):
            return message
    return None


def surely(work, *arguments):
    """For threads: a surprise in one ends the whole program."""
    try:
        return work(*arguments)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


class Story:
    def __init__(self):
        self.stubs = {}  # by the name of their token
        self.limits = None
        self.sessions = {}  # by node

    @contextlib.contextmanager
    def connected(self, address):
        """Connects each node with its own token, and the many that come and go with that of a back-end."""
        names = ["1", "2", "3", "crowd"] if TRUST else ["1"]
        with contextlib.ExitStack() as connections:
            for name in names:
                channel = connections.enter_context(connect(address, name))
                self.stubs[name] = services.LivestreamServiceStub(channel)
                if name == "1":
                    stub = server_services.ServerServiceStub(channel)
                    self.limits = stub.GetServerInfo(server.GetServerInfoRequest()).limits
            yield

    def stub(self, node):
        """A client that calls as this node."""
        return self.stubs["1" if not TRUST else str(node) if node <= SUBSCRIBER else "crowd"]

    def begin(self):
        config = livestream.LivestreamConfig(
            star_to_tree_threshold=10, tree_fanout=3,  # a tree with several levels, so that viewers have targets
            max_lag={"seconds": 60})  # on a busy machine nobody is to skip ahead
        self.stub(BROADCASTER).CreateLivestream(
            livestream.CreateLivestreamRequest(livestream_id=ID, node_id=BROADCASTER, config=config))
        self.stub(BROADCASTER).StartLivestream(
            livestream.StartLivestreamRequest(livestream_id=ID, node_id=BROADCASTER))
        for node in range(BROADCASTER, LAST + 1):
            self.sessions[node] = self.join(node)
        print(f"created, started, {LAST - BROADCASTER} viewers and the broadcaster joined")

    def join(self, node):
        request = livestream.JoinLivestreamRequest(livestream_id=ID, node_id=node, lease_ttl=LEASE)
        return self.stub(node).JoinLivestream(request).session_id

    def who(self, node):
        return {"livestream_id": ID, "node_id": node, "session_id": self.sessions[node]}

    def watch(self, node, timeout=None):
        request = livestream.WatchTargetsRequest(**self.who(node), of_node_id=node)
        return self.stub(node).WatchTargets(request, timeout=timeout)

    def live_through(self):
        """Publishes and receives, while viewers come and go and two watches are folded."""
        targets = Targets(lambda: self.watch(WATCHED))
        roster = Roster(lambda position: self.stub(WATCHED).WatchLivestream(livestream.WatchLivestreamRequest(
            livestream_id=ID, kinds=[livestream.LIVESTREAM_EVENT_KIND_MEMBERSHIP], resume_from=position)))
        begun = threading.Event()  # the subscriber has the first update
        with concurrent.futures.ThreadPoolExecutor() as pool:
            folds = [pool.submit(surely, targets.run), pool.submit(surely, roster.run)]
            received = pool.submit(surely, self.subscribe, begun)
            published = pool.submit(surely, Publication(self.stub(BROADCASTER), self.open(), begun, self.limits).run)
            answers = self.churn(lambda: received.done() and published.done())
            print("published {0} of {0}: {1} reopenings, {2} carried over".format(UPDATES, *published.result()))
            expect(not TRUST or min(published.result()[0], received.result()) > 1, "streams end with their tokens")
            print(f"received {UPDATES} of {UPDATES} in order, without a gap: {received.result()} resumes")
            # Nothing changes any more. The next heartbeat tells the folds that they are current.
            answers.append(self.targets())
            targets.reach(answers[-1].revision)
            viewers = self.viewers()
            roster.reach(viewers.revision)
            targets.stop()
            roster.stop()
            for fold in folds:
                fold.result()
        known = [answer for answer in answers if answer.revision in targets.at]
        for answer in known:
            expect(targets.at[answer.revision] == Targets.state(answer.targets), "the folded targets equal GetTargets")
        print(f"targets: {len(targets.at)} messages folded, equal to GetTargets at {len(known)} revisions:",
              targets.reopenings, "reopenings")
        expect(roster.at[viewers.revision] == {viewer.node_id: viewer.session_id for viewer in viewers.viewers},
               "the folded roster equals ListViewers")
        print(f"roster: {len(roster.at)} messages folded, equal to ListViewers: {roster.reopenings} resumes")

    def churn(self, done):
        """Has viewers come and go until the rest is done, and asks each time for what the fold should be."""
        first, stay, answers = 100, 5, []
        while not done():
            node = first + len(answers)
            self.join(node)
            if node >= first + stay:
                leave = livestream.LeaveLivestreamRequest(livestream_id=ID, node_id=node - stay)
                self.stub(node - stay).LeaveLivestream(leave)
            answers.append(self.targets())
            time.sleep(0.1)
        return answers

    def targets(self):
        return self.stub(WATCHED).GetTargets(livestream.GetTargetsRequest(livestream_id=ID, of_node_id=WATCHED))

    def viewers(self):
        return self.stub(BROADCASTER).ListViewers(livestream.ListViewersRequest(livestream_id=ID))

    def subscribe(self, begun):
        """Receives the updates, and resumes at the last position whenever a stream ends of its age."""
        following, resumes, resume = 1, 0, None
        while True:
            request = livestream.SubscribeUpdatesRequest(
                **self.who(SUBSCRIBER), channels=[swarm.UPDATE_CHANNEL_VISUAL], resume_from=resume)
            call, goodbye = self.stub(SUBSCRIBER).SubscribeUpdates(request), None
            try:
                for delivery in (delivery for answer in call for delivery in answer.deliveries):
                    what = delivery.WhichOneof("item")
                    if what == "subscribed" and resume is None:
                        # Without positions: what waits for its first keyframe has none yet.
                        resume = swarm.SubscriptionPosition(epoch=delivery.subscribed.epoch)
                    elif what == "update":
                        expect(delivery.update.payload == payload(following), following, "is", delivery.update)
                        resume = swarm.SubscriptionPosition(epoch=resume.epoch, positions=[delivery.update.position])
                        begun.set()
                        following += 1
                        if following > UPDATES:
                            call.cancel()
                            return resumes
                    elif what == "goodbye":
                        goodbye = delivery.goodbye.reason
                    expect(what != "gap", "a gap:", delivery)
                expect(False, "the subscription ended")
            except grpc.RpcError as error:
                expect(planned(goodbye, error), "the subscription ended:", goodbye, error)
            resumes += 1

    def error_details(self):
        try:
            self.stub(BROADCASTER).JoinLivestream(livestream.JoinLivestreamRequest(livestream_id=404, node_id=1))
            expect(False, "joined an unknown livestream")
        except grpc.RpcError as error:
            info = detail(error, error_details_pb2.ErrorInfo())
            expect(error.code() == grpc.StatusCode.NOT_FOUND and info.reason == "LIVESTREAM_NOT_FOUND", error)
            print(f"unknown livestream: {error.code().name}, reason {info.reason}, domain {info.domain}")

    def refusals(self, address):
        """Shows a token that counts for nothing, and asks for what a viewer may not do."""
        def refused(call, request, code, reason):
            try:
                call(request)
                expect(False, request, "is answered")
            except grpc.RpcError as error:
                found = detail(error, error_details_pb2.ErrorInfo())
                expect(error.code() == code and found.reason == reason, reason, "is", error)

        with connect(address, "wrong") as channel:
            wrong = services.LivestreamServiceStub(channel)
            refused(wrong.GetLivestream, livestream.GetLivestreamRequest(livestream_id=ID),
                    grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")
        update = swarm.UpdateDraft(channel=swarm.UPDATE_CHANNEL_VISUAL, payload=b"not mine")
        refused(self.stub(SUBSCRIBER).PublishUpdate, livestream.PublishUpdateRequest(livestream_id=ID, update=update),
                grpc.StatusCode.PERMISSION_DENIED, "NOT_GRANTED")
        refused(self.stub(SUBSCRIBER).LeaveLivestream,
                livestream.LeaveLivestreamRequest(livestream_id=ID, node_id=WATCHED),
                grpc.StatusCode.PERMISSION_DENIED, "NOT_YOUR_NODE")
        print("refused: a wrong token, a viewer that publishes, one that acts for another")

    def deadline(self):
        began = time.monotonic()
        try:
            for _ in self.watch(LAST, timeout=0.5):
                expect(self.attached(LAST), "the watch keeps its session attached")
            expect(False, "the watch ended with OK")
        except grpc.RpcError as error:
            took = time.monotonic() - began
            expect(error.code() == grpc.StatusCode.DEADLINE_EXCEEDED and took < 1, "after", took, error)
        began = time.monotonic()
        while self.attached(LAST):
            expect(time.monotonic() - began < 1, "the server ends its side too")
        print(f"deadline of 500 ms: DEADLINE_EXCEEDED after {took * 1000:.0f} ms, on the server too")

    def attached(self, node):
        return any(viewer.attached for viewer in self.viewers().viewers if viewer.node_id == node)

    def shutdown(self, pid):
        """Opens one stream of each kind, ends the server and hears how it says so."""
        outbox = queue.SimpleQueue()
        outbox.put(self.open())
        watch = self.watch(WATCHED)
        publication = self.stub(BROADCASTER).PublishUpdates(iter(outbox.get, None))
        subscription = self.stub(SUBSCRIBER).SubscribeUpdates(
            livestream.SubscribeUpdatesRequest(**self.who(SUBSCRIBER)))
        streams = [
            (watch, lambda message: message.goodbye.reason),
            (publication, lambda message: message.goodbye.reason),
            (subscription, lambda message: message.deliveries[-1].goodbye.reason),
        ]
        for call, _ in streams:
            next(call)  # it is open
        os.kill(pid, signal.SIGTERM)
        for call, reason in streams:
            try:
                for message in call:
                    goodbye = reason(message)
                expect(False, "a stream ended with OK")
            except grpc.RpcError as error:
                expect(goodbye == swarm.GOODBYE_REASON_DRAINING, "goodbye:", goodbye)
                expect(error.code() == grpc.StatusCode.UNAVAILABLE, "the status:", error)
                expect(detail(error, error_details_pb2.RetryInfo()), "says when to come back:", error)
        outbox.put(None)
        print(f"stopping: goodbye DRAINING, then UNAVAILABLE with RetryInfo, on {len(streams)} streams")

    def open(self):
        return livestream.PublishUpdatesRequest(
            open=livestream.PublishOpen(**self.who(BROADCASTER), channels=[swarm.UPDATE_CHANNEL_VISUAL]))


def main():
    address, pid = sys.argv[1], int(sys.argv[2])
    story = Story()
    with story.connected(address):
        story.begin()
        story.live_through()
        story.error_details()
        if TRUST:
            story.refusals(address)
    # The rest over new connections.
    with story.connected(address):
        story.deadline()
        story.shutdown(pid)


if __name__ == "__main__":
    main()
