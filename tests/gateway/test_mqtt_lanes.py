"""Both lanes of the bridge against a model: any order of items, answers, losses, restarts.

The broker is a list; the feed and the bridge's lanes are the real ones. Truth is the log.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from clampgateway.bridges.mqtt.closed import ClosedTopics
from clampgateway.bridges.mqtt.history import HistoryLane
from clampgateway.bridges.mqtt.live import LiveLane
from clampgateway.bridges.mqtt.pace import Pace
from clampgateway.bridges.mqtt.routes import Route, Routes
from clampgateway.bridges.mqtt.trials import Trials
from clampgateway.bridges.mqtt.work import QUOTA, TOO_LARGE
from clampgateway.descriptions import Descriptions
from clampgateway.devices import Devices
from clampgateway.feed import BridgeContext, Feed
from clampgateway.model import Item, Parked, Stored
from clampgateway.topics import Topics
from support import readings
from support.gateway_parts import describe_payloads

DEVICES = ("aaa", "bbb")
ABOUT = {device: readings.description(device, (readings.CURRENT,)) for device in DEVICES}
WINDOW = 5


class Broker:
    """A connection, and what is in flight on it."""

    ended = False

    def __init__(self) -> None:
        self.flying: list[tuple[str, bytes, Callable[[int], None]]] = []

    @property
    def has_room(self) -> bool:
        return len(self.flying) < WINDOW

    def send(
        self, topic: str, payload: bytes, on_ack: Callable[[int], None], *, retain: bool = False
    ) -> None:
        assert self.has_room
        assert not retain
        self.flying.append((topic, payload, on_ack))


class BridgeMachine(RuleBasedStateMachine):
    """`extra` is how often an item may come beyond once: for each answer that was lost."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now_s = 1000.0
        self.log: list[Stored] = []
        self.seqs: dict[str, int] = dict.fromkeys(DEVICES, 100)
        self.old: dict[str, int] = dict.fromkeys(DEVICES, 0)
        self.denied: set[str] = set()
        self.came: Counter[tuple[str, int]] = Counter()
        self.extra: Counter[tuple[str, int]] = Counter()
        self.build({}, {})

    def build(self, cursors: dict[str, int], parked: dict[str, tuple[Parked, ...]]) -> None:
        last_id = self.log[-1].id if self.log else 0
        told = [(d, about.crc, describe_payloads(about)) for d, about in ABOUT.items()]
        mono = lambda: self.now_s  # noqa: E731
        self.feed = Feed(
            Devices(), Descriptions(told), self.read_after, mono, cursors, last_id, (), parked
        )
        context = BridgeContext(
            "s", "g", Devices(), self.feed, self.assign, mono, lambda: readings.UTC_MS,
            self.read_range, self.read_ids,
        )  # fmt: skip
        self.reader = self.feed.lane_reader("mqtt")
        self.closed = ClosedTopics()
        self.pace = Pace(1000.0, 300)
        counts: Counter[str] = Counter()
        routes = Routes(context, Topics("c", "s"), lambda _route, _about: False)
        self.live = LiveLane(
            self.reader, routes, self.closed, self.pace, counts, self.refused, lambda: None,
            lambda: readings.UTC_MS, mono,
        )  # fmt: skip
        self.history = HistoryLane(
            self.reader, context, routes, self.closed, self.pace, counts, self.refused,
            lambda: None,
        )  # fmt: skip
        self.trials = Trials(
            self.reader, context, routes, self.closed, counts, self.refused, lambda: None
        )
        self.broker = Broker()
        self.connected()

    def connected(self) -> None:
        self.broker = Broker()
        self.live.restart()
        self.history.restart()
        self.pace.restart()
        self.trials.restart(self.now_s)

    def refused(self, _route: Route, topic: str, code: int) -> None:
        if code not in (QUOTA, TOO_LARGE):
            self.closed.refuse(topic, code, self.now_s)

    # --- the log --------------------------------------------------------------------------------

    async def assign(self, *_what: object) -> int:
        raise AssertionError

    async def read_after(self, after: int, limit: int) -> list[Stored]:
        return [each for each in self.log if each.id > after][:limit]

    async def read_ids(
        self, device: str, kinds: int, after: int, up_to: int, limit: int
    ) -> list[Stored]:
        return [
            each
            for each in self.log
            if after < each.id <= up_to
            and each.item.device == device
            and kinds >> each.item.kind & 1
        ][:limit]

    async def read_range(self, *_what: object) -> list[Stored]:
        raise AssertionError

    def item(self, device: str, kind: str) -> Item:
        about = ABOUT[device]
        if kind == "late":
            self.old[device] += 1
            return readings.record(about, self.old[device], {})
        self.seqs[device] += 1
        if kind == "event":
            return readings.event(about, self.seqs[device], "state", 255, 3, "x")
        return readings.record(about, self.seqs[device], {})

    # --- what happens ---------------------------------------------------------------------------

    @rule(
        what=st.lists(
            st.tuples(
                st.sampled_from(DEVICES), st.sampled_from(["fresh", "fresh", "late", "event"])
            ),
            min_size=1,
            max_size=8,
        )
    )
    def commit(self, what: list[tuple[str, str]]) -> None:
        new = []
        for device, kind in what:
            new.append(Stored(len(self.log) + 1, self.item(device, kind)))
            self.log.append(new[-1])
        self.feed.publish(new)

    @rule(turns=st.integers(1, 6))
    def turn(self, turns: int) -> None:
        async def go() -> None:
            for _ in range(turns):
                if not self.pace.paused(self.now_s) and self.live.pump(self.broker):  # type: ignore[arg-type]
                    self.trials.pump(self.broker, self.now_s)  # type: ignore[arg-type]
                    self.history.pump(self.broker, self.now_s)  # type: ignore[arg-type]
                for _ in range(3):
                    await asyncio.sleep(0)

        self.loop.run_until_complete(go())

    @rule(count=st.integers(1, WINDOW), quota=st.sampled_from([False, False, False, True]))
    def answer(self, count: int, quota: bool) -> None:
        for topic, payload, on_ack in self.broker.flying[:count]:
            del self.broker.flying[0]
            if topic in self.denied:
                on_ack(0x87)
            elif quota:
                on_ack(QUOTA)
            else:
                self.take(topic, payload)
                on_ack(0)

    def names_in(self, topic: str, payload: bytes) -> list[tuple[str, int]]:
        content = json.loads(payload)
        device = topic.split("/")[2]
        if topic.endswith("/history"):
            seqs = [each["seq"] for each in content]
            assert seqs == sorted(seqs), "oldest first"
            return [(device, seq) for seq in seqs]
        return [(device, content["seq"])]

    def take(self, topic: str, payload: bytes) -> None:
        for name in self.names_in(topic, payload):
            self.came[name] += 1
            most = 1 + self.extra[name]
            assert self.came[name] <= most, f"{name} came {self.came[name]} times, on {topic} now"

    @rule(
        topic=st.sampled_from([f"{d}/{t}" for d in DEVICES for t in ("data", "history", "event")])
    )
    def acl(self, topic: str) -> None:
        self.denied ^= {f"c/s/{topic}"}
        # Of what is in flight some may be refused and some taken: the range reaches over both.
        self.excuse_flying()

    def excuse_flying(self) -> None:
        for topic, payload, _on_ack in self.broker.flying:
            for name in self.names_in(topic, payload):
                self.extra[name] += 1

    @rule()
    def lose_the_connection(self) -> None:
        self.excuse_flying()
        self.connected()

    @rule()
    def restart_the_gateway(self) -> None:
        """Killed: what was in flight, and what was taken behind the oldest of it, comes again."""
        low = self.reader.lanes.cursors()[0]
        first = min([low, *(each.first - 1 for each in self.reader.lanes.ranges)])
        for stored in self.log:
            if stored.id > first:
                self.extra[stored.item.device, stored.item.seq] += 1
        cursors, parked = self.feed.cursors(), self.feed.parked()
        self.history.stop()
        self.trials.stop()
        self.build(cursors, parked)

    @rule(seconds=st.sampled_from([0.1, 6.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    def teardown(self) -> None:
        """A broker that takes everything gets everything, and nothing is left aside."""
        self.denied.clear()
        for _ in range(400):
            self.now_s += 60.0
            self.turn(6)
            self.answer(WINDOW, quota=False)
            done = self.reader.lanes.cursors() == (len(self.log),) * 3
            if done and not self.reader.lanes.ranges.count and not self.broker.flying:
                break
        expected = {(each.item.device, each.item.seq) for each in self.log}
        assert set(self.came) == expected
        assert self.reader.parked() == ()
        self.history.stop()
        self.trials.stop()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()


def test_what_was_taken_does_not_come_again_with_the_rest_of_its_step() -> None:
    machine = BridgeMachine()
    machine.commit([("aaa", "fresh")] * 4)
    machine.lose_the_connection()  # so that all of it is backlog
    machine.turn(turns=2)
    machine.answer(count=1, quota=False)
    assert sum(machine.came.values()) == 3
    machine.lose_the_connection()
    machine.teardown()
    assert set(machine.came.values()) == {1}


BridgeMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
TestBridge = BridgeMachine.TestCase
