#!/usr/bin/env python3
"""A stock Python client (grpcio, code generated from proto/ at run time) folds what the server streams.

While viewers come, go, come again and change their minds, across the threshold between star and tree and back:

- the WatchTargets of the broadcaster and of several viewers, folded, equal GetTargets at the same revision, during
  the churn wherever both name the same revision, and all of them at the end;
- the WatchLivestream events of all kinds have contiguous revisions, and the roster that they make equals
  ListViewers; also for a watcher that was cut and resumed from (epoch, revision);
- each join has exactly one leave, or is a member at the end.

And while `starling publish` plays a real clip, SubscribeUpdatesResponse.deliveries, decoded by the generated code,
hold the clip byte for byte.

Nothing here sleeps: it waits for what the server says, up to a deadline for the whole.
"""

import argparse
import contextlib
import faulthandler
import importlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import typing

import grpc
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLIP = ROOT / "tests/data/bigbuckbunny-360p25.h264"
PROTOS = ["swarm/v1/swarm", "swarm/v1/server", "livestream/v1/livestream", "group/v1/group"]

BROADCASTER = 1
THRESHOLD, FANOUT = 20, 3
STAYING = 8  # viewers 2..9 stay throughout; some of them are watched
PASSING = 500  # joins and leaves once
FIRST_GUEST = 1_000
LEASE_S = 300


class Wrong(Exception):
    """The server did not do what it must."""


def check(holds, *what):
    if not holds:
        raise Wrong(" ".join(map(str, what)))


def generate(folder):
    """The stock generated code, as modules (livestream messages, livestream stubs, swarm messages)."""
    files = [f"starling/{name}.proto" for name in PROTOS]
    well_known = str(pathlib.Path(protoc.__file__).parent / "_proto")
    arguments = ["protoc", f"-I{ROOT / 'proto'}", f"-I{well_known}", f"--python_out={folder}",
                 f"--grpc_python_out={folder}", *files]
    check(protoc.main(arguments) == 0, "protoc failed")
    sys.path.insert(0, folder)
    names = ["livestream.v1.livestream_pb2", "livestream.v1.livestream_pb2_grpc", "swarm.v1.swarm_pb2"]
    return [importlib.import_module(f"starling.{name}") for name in names]


@contextlib.contextmanager
def server(binary, heartbeat):
    """Runs the server on a free port and sees to it that SIGTERM ends it with 0; yields its address."""
    command = [binary, "serve", "--listen", "127.0.0.1:0"]
    environment = os.environ | {"STARLING__STREAMS__HEARTBEAT_INTERVAL": heartbeat}
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment) as run,
    ):
        try:
            line = json.loads(run.stdout.readline())
            check(line["message"] == "listening", "the server says:", line)
            yield line["address"]
            run.send_signal(signal.SIGTERM)
            check(run.wait() == 0, "the server exited with", run.returncode)
        except BaseException:
            log.seek(0)
            print("--- the end of the log of the server:", *log.readlines()[-20:], sep="\n", file=sys.stderr)
            raise
        finally:
            run.kill()


class Stream(threading.Thread):
    """Reads a stream in a thread of its own and folds it; others wait for what it has come to."""

    def __init__(self, name, call):
        super().__init__(name=name, daemon=True)
        self.call = call
        self.news = threading.Condition()
        self.revision = 0  # up to which the fold is current
        self.epoch = None
        self.goodbye = None
        self.status = None  # set when the stream is over
        self.wrong = None

    def run(self):
        try:
            for message in self.call:
                with self.news:
                    self.fold(message)
                    self.news.notify_all()
            status = self.call.code()
        except grpc.RpcError as error:
            status = error.code()
        except Exception as error:  # told to whoever waits
            self.wrong, status = error, None
        with self.news:
            self.status = status or grpc.StatusCode.UNKNOWN
            self.news.notify_all()

    def wait_for(self, what, holds):
        with self.news:
            self.news.wait_for(lambda: holds() or self.status)
            if self.wrong:
                raise Wrong(f"{self.name}: {self.wrong}") from self.wrong
            check(holds(), f"{self.name}: the stream ended with {self.status} before {what}")

    def reach(self, revision):
        self.wait_for(f"revision {revision}", lambda: self.revision >= revision)
        return self

    def end(self):
        """Waits for the server to end the stream."""
        self.wait_for("its end", lambda: self.status)
        return self

    def cut(self):
        """Ends the stream from this side, wherever it is."""
        self.call.cancel()
        self.join()
        if self.wrong:
            raise Wrong(f"{self.name}: {self.wrong}") from self.wrong
        return self

    def fold(self, message):
        raise NotImplementedError

    def same_epoch(self, message):
        check(self.epoch in (None, message.epoch), "another epoch without a reset")
        self.epoch = message.epoch

    def current(self, message):
        check(message.revision >= self.revision, f"revision {message.revision} after {self.revision}")
        self.revision = message.revision


class Targets(Stream):
    """The fold of WatchTargets: topology, placement, parent and backup parent, and a target per node."""

    def __init__(self, name, call):
        super().__init__(name, call)
        self.state = None
        self.at = {}  # the state at each revision that a message named
        self.deltas = 0
        self.kinds = dict.fromkeys(("added", "updated", "removed", "moved"), 0)
        self.topologies = set()

    def fold(self, message):
        what = message.WhichOneof("event")
        if what == "goodbye":
            self.goodbye = message.goodbye.reason
            return
        self.same_epoch(message)
        if what == "snapshot":
            check(self.state is None, "a second snapshot")
            self.state = as_state(message.snapshot)
        elif what == "delta":
            self.state = self.apply(message.delta)
        else:
            check(what == "heartbeat", "an unknown event:", what)
        check(self.state is not None, what, "before the snapshot")
        self.current(message)
        self.at[self.revision] = self.state
        self.topologies.add(self.state[0].topology)

    def apply(self, delta):
        place, targets = self.state
        targets = dict(targets)
        for removed in delta.removed:
            check(removed.node_id in targets, "removed what was no target:", removed.node_id)
            check(removed.reason != 0, "removed for no reason:", removed.node_id)
            del targets[removed.node_id]
        for target in delta.updated:
            check(target.node_id in targets, "updated what was no target:", target.node_id)
            check(targets[target.node_id] != target, "updated to the same:", target.node_id)
            targets[target.node_id] = target
        for target in delta.added:
            check(target.node_id not in targets, "added what was a target:", target.node_id)
            targets[target.node_id] = target
        state = (Place.of(delta), targets)
        check(state != self.state, "a delta without a change")
        self.deltas += 1
        for kind in ("added", "updated", "removed"):
            self.kinds[kind] += len(getattr(delta, kind))
        self.kinds["moved"] += place.placement != state[0].placement
        return state


class Place(typing.NamedTuple):
    """What a list and every delta tell as it is now."""

    topology: int
    placement: object
    parent: object
    backup_parent: object

    @classmethod
    def of(cls, told):
        placement, *parents = [getattr(told, field) if told.HasField(field) else None
                               for field in ("placement", "parent", "backup_parent")]
        named = (placement.parent_node_id, placement.backup_parent_node_id) if placement else (0, 0)
        check(named == tuple(parent.node_id if parent else 0 for parent in parents), "other parents than", named)
        return cls(told.topology, placement, *parents)


def as_state(listed):
    targets = {target.node_id: target for target in listed.targets}
    check(len(targets) == len(listed.targets), "a target twice")
    return (Place.of(listed), targets)


class Events(Stream):
    """The fold of WatchLivestream with every kind of event: the roster."""

    # What no event tells: whether streams are open.
    UNTOLD = ("attached",)

    def __init__(self, name, call, swarm, before=None):
        super().__init__(name, call)
        self.swarm = swarm
        self.resumed = before is not None
        self.roster = dict(before.roster) if before else {}
        self.live = self.resumed
        self.first = True
        self.events = 0
        self.joins = dict(before.joins) if before else {}  # session -> leaves
        if before:
            self.epoch, self.revision = before.epoch, before.revision
            self.topology = before.topology
            # Since the last switch of the shape the placement of these is not known.
            self.displaced = set(before.displaced)
        else:
            self.topology, self.displaced = None, set()

    def fold(self, message):
        what = message.WhichOneof("event")
        if what == "goodbye":
            self.goodbye = message.goodbye.reason
            return
        self.same_epoch(message)
        if self.first:
            self.first = False
            check((what == "reset") != self.resumed, "a stream that begins with", what)
        if what == "reset":
            self.roster, self.topology = {}, message.reset.livestream.topology
            self.current(message)
        elif what == "roster":
            for viewer in message.roster.viewers:
                check(viewer.node_id not in self.roster, "a viewer twice in the roster:", viewer.node_id)
                self.seat(viewer)
            self.current(message)
        elif what == "snapshot_complete":
            check(message.snapshot_complete.revision == message.revision, "a snapshot of two minds")
            self.live = True
            self.current(message)
        elif what == "heartbeat":
            check(message.revision == self.revision, f"a heartbeat at {message.revision} overtook {self.revision}")
        else:
            check(what == "batch" and message.batch.events, "a message without anything:", what)
            check(message.batch.HasField("event_time"), "events of no time")
            # During the scan of the roster, what its pages will show is left out.
            contiguous = message.revision == self.revision + 1
            check(contiguous if self.live else message.revision > self.revision,
                  f"revision {message.revision} after {self.revision}")
            for event in message.batch.events:
                self.happened(event)
            self.current(message)

    def seat(self, viewer):
        copy = type(viewer)()
        copy.CopyFrom(viewer)
        for field in self.UNTOLD:
            copy.ClearField(field)
        self.roster[viewer.node_id] = copy
        self.displaced.discard(viewer.node_id)
        self.joins.setdefault(viewer.session_id, 0)

    def happened(self, event):
        self.events += 1
        what = event.WhichOneof("change")
        body = getattr(event, what)
        if what == "viewer_joined":
            check(body.viewer.node_id not in self.roster, "joined and was in:", body.viewer.node_id)
            check(body.viewer.session_id not in self.joins, "a session twice")
            self.seat(body.viewer)
        elif what == "viewer_left":
            gone = self.roster.pop(body.node_id, None)
            check(gone is not None and gone.session_id == body.session_id, "left and was not in:", body.node_id)
            check(body.reason != 0, "left for no reason:", body.node_id)
            self.joins[body.session_id] += 1
            check(self.joins[body.session_id] == 1, "a session that ended twice")
        elif what == "broadcast_transferred":
            self.roster.pop(body.to_node_id, None)
            if body.HasField("viewer"):
                self.seat(body.viewer)
        elif what == "moderator_changed" and body.node_id in self.roster:
            self.roster[body.node_id].moderator = body.moderator
        elif what == "mute_changed" and body.node_id in self.roster:
            self.roster[body.node_id].muted = body.muted
        elif what == "interest_changed" and body.node_id in self.roster:
            kept = {wish.channel: wish for wish in self.roster[body.node_id].interests}
            kept.update((wish.channel, wish) for wish in body.interests)
            wishes = [type(body.interests[0]).FromString(kept[key].SerializeToString()) for key in sorted(kept)]
            del self.roster[body.node_id].interests[:]
            self.roster[body.node_id].interests.extend(wishes)
        elif what == "placement_changed":
            check(body.node_id in self.roster, "a placement of nobody:", body.node_id)
            self.roster[body.node_id].placement.CopyFrom(body.placement)
            self.displaced.discard(body.node_id)
        elif what == "topology_switched":
            check(body.topology != self.topology, "a switch to the same shape")
            self.topology = body.topology
            self.displaced = set(self.roster)
            if body.topology == self.swarm.TOPOLOGY_STAR:
                for viewer in self.roster.values():
                    relays = viewer.placement.can_relay
                    viewer.placement.Clear()
                    viewer.placement.parent_node_id, viewer.placement.depth = BROADCASTER, 1
                    viewer.placement.can_relay = relays
                self.displaced = set()
        elif what == "viewer_updated" and body.viewer.node_id in self.roster:
            check(body.viewer.session_id == self.roster[body.viewer.node_id].session_id, "updated to another session")
            self.seat(body.viewer)

    def compare(self, viewers, revision):
        """With ListViewers at the same revision."""
        check(self.revision == revision, f"{self.name}: at {self.revision}, ListViewers at {revision}")
        check(set(self.roster) == set(viewers), f"{self.name}: the roster is", sorted(self.roster), "and ListViewers",
              sorted(viewers))
        for node, listed in viewers.items():
            told = type(listed)()
            told.CopyFrom(self.roster[node])
            listed = type(listed).FromString(listed.SerializeToString())
            for message in (told, listed):
                for field in self.UNTOLD:
                    message.ClearField(field)
                message.interests.sort(key=lambda wish: wish.channel)
                if node in self.displaced:
                    message.ClearField("placement")
            check(told == listed, f"{self.name}: viewer {node} is told as\n{told}and listed as\n{listed}")


class Checks:
    def __init__(self, address, binary, seed, pause_every):
        self.address, self.binary = address, binary
        self.random = random.Random(seed)
        self.pause_every, self.pauses = pause_every, 0
        self.channel = grpc.insecure_channel(address)
        self.api = grpc_code.LivestreamServiceStub(self.channel)
        self.revision = 0
        self.members = {}  # node -> session, of the viewers
        self.compared = 0

    # === Calls ===

    def create(self, livestream, **config):
        made = self.api.CreateLivestream(pb.CreateLivestreamRequest(
            livestream_id=livestream, node_id=BROADCASTER, config=pb.LivestreamConfig(**config) if config else None))
        check(made.created, "livestream", livestream, "was there before")
        self.livestream = livestream
        self.revision = made.livestream.revision
        self.members = {}
        return made.livestream

    def join(self, node, **wishes):
        request = pb.JoinLivestreamRequest(livestream_id=self.livestream, node_id=node, **wishes)
        request.lease_ttl.seconds = LEASE_S
        joined = self.api.JoinLivestream(request)
        self.revision = joined.revision
        if node != BROADCASTER:
            self.members[node] = joined.session_id
        return joined

    def leave(self, node):
        left = self.api.LeaveLivestream(pb.LeaveLivestreamRequest(
            livestream_id=self.livestream, node_id=node, session_id=self.members.pop(node)))
        self.revision = left.revision

    def targets_of(self, node=0):
        return self.api.GetTargets(pb.GetTargetsRequest(livestream_id=self.livestream, of_node_id=node))

    def viewers(self):
        viewers, token = {}, ""
        while True:
            page = self.api.ListViewers(pb.ListViewersRequest(
                livestream_id=self.livestream, page_size=7, page_token=token, view=swarm.MEMBER_VIEW_FULL))
            for viewer in page.viewers:
                check(viewer.node_id not in viewers, "a viewer twice in ListViewers:", viewer.node_id)
                viewers[viewer.node_id] = viewer
            token = page.next_page_token
            if not token:
                return viewers, page.revision

    def watch_targets(self, node=0, session=0):
        call = self.api.WatchTargets(pb.WatchTargetsRequest(
            livestream_id=self.livestream, node_id=node if session else 0, session_id=session, of_node_id=node))
        name = f"targets of {f'node {node}' if node else 'the broadcaster'}{' (attached)' if session else ''}"
        stream = Targets(name, call)
        stream.start()
        return stream

    def watch_events(self, name, before=None):
        request = pb.WatchLivestreamRequest(
            livestream_id=self.livestream, kinds=[kind for kind in pb.LivestreamEventKind.values() if kind],
            view=swarm.MEMBER_VIEW_FULL)
        if before:
            request.resume_from.epoch, request.resume_from.revision = before.epoch, before.revision
        stream = Events(name, self.api.WatchLivestream(request), swarm, before)
        stream.start()
        return stream

    # === What is checked ===

    def step(self):
        """One thing that happens to the livestream."""
        draw = self.random
        growing = self.growing
        guests = [node for node in self.members if node >= FIRST_GUEST]
        kind = draw.choices(
            ["join", "leave", "again", "interest", "metadata", "mute", "moderator"],
            [6 if growing else 2, 2 if growing else 6, 1, 1, 1, 0.5, 0.5])[0]
        somebody = draw.choice([node for node in self.members if node != PASSING])
        acting = {"livestream_id": self.livestream, "node_id": somebody}
        if kind == "leave" and guests:
            self.leave(draw.choice(guests))
        elif kind == "again":
            # In another mode now and then: it leaves its slot and takes another one.
            node, wishes = somebody, {}
            if node in guests and draw.random() < 0.5:
                wishes["mode"] = draw.choice([pb.VIEWER_MODE_ACTIVE, pb.VIEWER_MODE_LURKER])
            elif node in guests:
                wishes["can_relay"] = draw.random() < 0.5
            if draw.random() < 0.5:
                wishes["endpoint"] = draw.randbytes(8)
            if wishes.get("mode") is None and wishes.get("can_relay") and self.lurks(node):
                del wishes["can_relay"]
            self.join(node, **wishes)
        elif kind == "interest":
            wish = swarm.ChannelInterest(
                channel=draw.choice(swarm.UpdateChannel.values()[1:]), interest=draw.choice(swarm.Interest.values()[1:]))
            answer = self.api.SetInterest(pb.SetInterestRequest(**acting, interests=[wish]))
            self.revision = answer.revision
        elif kind == "metadata":
            said = {draw.choice(["metadata", "endpoint"]): draw.randbytes(4)}
            if somebody in guests and draw.random() < 0.5 and not self.lurks(somebody):
                said["can_relay"] = draw.random() < 0.5
            self.revision = self.api.UpdateViewer(pb.UpdateViewerRequest(**acting, **said)).revision
        elif kind in ("mute", "moderator"):
            method, request = draw.choice({
                "mute": [(self.api.MuteViewer, pb.MuteViewerRequest), (self.api.UnmuteViewer, pb.UnmuteViewerRequest)],
                "moderator": [(self.api.AddModerator, pb.AddModeratorRequest),
                              (self.api.RemoveModerator, pb.RemoveModeratorRequest)],
            }[kind])
            answer = method(request(livestream_id=self.livestream, node_id=BROADCASTER, viewer_node_id=somebody))
            self.revision = answer.revision
        else:
            mode = pb.VIEWER_MODE_LURKER if draw.random() < 0.2 else pb.VIEWER_MODE_ACTIVE
            relays = {} if mode == pb.VIEWER_MODE_LURKER else {"can_relay": draw.random() < 0.7}
            self.join(self.next_node, mode=mode, endpoint=b"at %d" % self.next_node, **relays)
            self.next_node += 1
        if len(self.members) > 3 * THRESHOLD:
            self.growing = False
        elif len(self.members) < THRESHOLD - 8:
            self.growing = True

    def lurks(self, node):
        return self.viewers()[0][node].mode == pb.VIEWER_MODE_LURKER

    def churn(self, steps, folds, events):
        for number in range(1, steps + 1):
            self.step()
            # One fold, chosen at random, against what the server says at this moment.
            node, fold = self.random.choice(folds)
            listed = self.targets_of(node)
            with fold.news:
                told = fold.at.get(listed.revision)
            if told is not None:
                check(told == as_state(listed.targets), f"{fold.name} at revision {listed.revision}: folded\n{told}\n"
                      f"GetTargets\n{listed.targets}")
                self.compared += 1
            if number % self.pause_every == 0:
                self.compare(folds, events)

    def compare(self, folds, events):
        """Nothing happens now: every fold comes to the revision of the last command, and must be right there. One
        that has nothing to tell is brought there by a heartbeat."""
        for node, fold in folds:
            fold.reach(self.revision)
            listed = self.targets_of(node)
            check(listed.epoch == fold.epoch == self.epoch, "another epoch")
            check(listed.revision == fold.revision == self.revision,
                  f"{fold.name}: at {fold.revision}, GetTargets at {listed.revision}, last command {self.revision}")
            check(fold.state == as_state(listed.targets),
                  f"{fold.name}: folded\n{fold.state}\nGetTargets\n{listed.targets}")
        listed, revision = self.viewers()
        check(set(listed) == set(self.members), "ListViewers has", sorted(listed), "not", sorted(self.members))
        for stream in events:
            stream.reach(revision).compare(listed, revision)
        self.pauses += 1

    def folds(self, steps):
        self.epoch = self.create(4242, star_to_tree_threshold=THRESHOLD, tree_fanout=FANOUT).epoch
        events = [self.watch_events("events from the beginning")]
        self.join(BROADCASTER)
        started = self.api.StartLivestream(pb.StartLivestreamRequest(livestream_id=4242, node_id=BROADCASTER))
        self.revision = started.revision
        for node in range(2, 2 + STAYING):
            self.join(node)
        self.next_node, self.growing = FIRST_GUEST, True

        watched = [0, BROADCASTER, 2, 3, 4, 7, 9]
        folds = [(node, self.watch_targets(node)) for node in watched]
        # One that keeps a session attached, and ends when the node leaves.
        leaving = self.watch_targets(PASSING, self.join(PASSING).session_id)
        events.append(self.watch_events(f"events from viewer {STAYING + 1} on"))
        cut = self.watch_events("events, cut")

        self.churn(steps // 3, folds, events)
        cut.wait_for("the roster", lambda: cut.live)
        cut.cut()
        self.leave(PASSING)
        leaving.end()
        check(leaving.goodbye == swarm.GOODBYE_REASON_LEFT and leaving.status == grpc.StatusCode.OK,
              "the watch of a node that left ended with", leaving.goodbye, leaving.status)
        self.churn(steps // 3, folds, events)
        behind = self.revision - cut.revision
        events.append(self.watch_events(f"events, cut and resumed {behind} revisions later", cut))
        self.churn(steps - 2 * (steps // 3), folds, events)

        # Past the threshold and back, whatever the churn did.
        for count, shape in ((THRESHOLD + 1, swarm.TOPOLOGY_TREE), (STAYING, swarm.TOPOLOGY_STAR),
                             (2 * THRESHOLD, swarm.TOPOLOGY_TREE)):
            while len(self.members) < count:
                self.join(self.next_node)
                self.next_node += 1
            while len(self.members) > count:
                self.leave(max(self.members))
            check(self.targets_of().targets.topology == shape, count, "viewers should make", shape)
            self.compare(folds, events)
        # From here on this one knows every placement, and nothing but events tells it of others.
        events.append(self.watch_events("events since the last switch"))
        self.growing = True
        self.churn(2 * THRESHOLD, folds, events)
        self.compare(folds, events)
        check(not events[-1].displaced, "the shape was switched once more")

        print(f"  ok  all folds compared {self.pauses} times in silence, one of them {self.compared} times in the churn")
        check(self.compared > 0, "no comparison during the churn")
        for _, fold in folds:
            check({swarm.TOPOLOGY_STAR, swarm.TOPOLOGY_TREE} <= fold.topologies, fold.name, "saw no switch")
            check(fold.kinds["added"] and fold.kinds["removed"], fold.name, "saw no", fold.kinds)
            counts = ", ".join(f"{count} {kind}" for kind, count in fold.kinds.items())
            print(f"  ok  {fold.name}: {fold.deltas} deltas, {counts}; equal to GetTargets at {fold.revision}")
        check(any(fold.kinds["updated"] for _, fold in folds), "no target was ever updated")
        for stream in events:
            known = len(self.members) - len(stream.displaced)
            print(f"  ok  {stream.name}: {stream.events} events, contiguous; roster equal to ListViewers at "
                  f"{stream.revision}: {len(self.members)} viewers, {known} with placement")
        whole = events[0]
        open_sessions = {session for session, leaves in whole.joins.items() if leaves == 0}
        check(open_sessions == set(self.members.values()), "sessions without a leave that are not members")
        print(f"  ok  {len(whole.joins)} joins: each has one leave, or is one of the {len(open_sessions)} members")

        self.api.EndLivestream(pb.EndLivestreamRequest(livestream_id=4242, node_id=BROADCASTER))
        for stream in [fold for _, fold in folds] + events:
            stream.end()
            check(stream.goodbye == swarm.GOODBYE_REASON_ENDED and stream.status == grpc.StatusCode.OK,
                  f"{stream.name}: ended with", stream.goodbye, stream.status)
        print(f"  ok  {len(folds) + len(events)} streams: goodbye ENDED, status OK")

    def video(self):
        self.create(77)
        joined = self.join(2)
        updates = self.api.SubscribeUpdates(pb.SubscribeUpdatesRequest(
            livestream_id=77, node_id=2, session_id=joined.session_id, channels=[swarm.UPDATE_CHANNEL_VISUAL]))
        subscribed = next(updates).deliveries[0]
        check(subscribed.WhichOneof("item") == "subscribed", "the first delivery is", subscribed)
        check(subscribed.subscribed.epoch == joined.epoch, "the subscription has another epoch")
        check(len(subscribed.subscribed.waiting_for_keyframe) == 1, "a subscription before the first keyframe waits")
        command = [self.binary, "publish", "--server", f"http://{self.address}", "--livestream", "77", "--node", str(BROADCASTER), "--end",
                   "--wait-viewers", "1", "--fps", "200", str(CLIP)]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as publish:
            try:
                payloads, last, goodbye = [], (0, 0), None
                for message in updates:
                    check(goodbye is None, "a message after goodbye")
                    for delivery in message.deliveries:
                        item = delivery.WhichOneof("item")
                        if item == "update":
                            update = delivery.update
                            at = (update.position.term, update.position.sequence)
                            check(update.position.source_node_id == BROADCASTER, "an update from", update.position)
                            check(update.position.channel == swarm.UPDATE_CHANNEL_VISUAL, "an update on", update.position)
                            check(at > last and at[1] == last[1] + 1, f"position {at} after {last}")
                            check(update.keyframe == (len(payloads) % 50 == 0), "the keyframe flag of", at)
                            check(update.HasField("publish_time") and update.HasField("accept_time"), "no time at", at)
                            payloads.append(update.payload)
                            last = at
                        elif item == "goodbye":
                            goodbye = delivery.goodbye.reason
                        else:
                            check(item in ("heartbeat", "filter"), "unexpected:", delivery)
                said = publish.stderr.read()
                check(publish.wait() == 0, "starling publish failed:", said)
            finally:
                publish.kill()
        check(goodbye == swarm.GOODBYE_REASON_ENDED and updates.code() == grpc.StatusCode.OK, "the end:", goodbye)
        check(b"".join(payloads) == CLIP.read_bytes(), f"the {len(payloads)} payloads are not the clip")
        print(f"  ok  {len(payloads)} updates in {last[1]} positions of term {last[0]}: the clip, byte for byte")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", default=str(ROOT / "target/debug/starling"), help="default: %(default)s")
    arguments.add_argument("--server", metavar="HOST:PORT", help="a server that runs already; default: start one")
    arguments.add_argument("--steps", type=int, default=900, help="of churn; default %(default)s")
    arguments.add_argument("--seed", type=int, default=20_240_607, help="default %(default)s")
    arguments.add_argument("--deadline", type=float, default=180, metavar="S", help="for everything; default %(default)s")
    options = arguments.parse_args()

    # Whatever hangs is shown, and ends.
    faulthandler.dump_traceback_later(options.deadline, exit=True)
    began = time.monotonic()
    global pb, grpc_code, swarm
    with tempfile.TemporaryDirectory() as folder:
        pb, grpc_code, swarm = generate(folder)
    running = contextlib.nullcontext(options.server) if options.server else server(options.binary, "250ms")
    try:
        with running as address:
            print(f"server at {address}, grpcio {grpc.__version__}, seed {options.seed}, {options.steps} steps of churn")
            # A server of somebody else's has heartbeats of 15 s.
            pause_every = options.steps if options.server else 60
            checks = Checks(address, options.binary, options.seed, pause_every)
            checks.folds(options.steps)
            checks.video()
            checks.channel.close()
    except Wrong as wrong:
        sys.exit(f"FAILED: {wrong}")
    print(f"all checks passed in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
