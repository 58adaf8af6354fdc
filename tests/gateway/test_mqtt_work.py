"""What was put aside stays so until it was delivered, whatever happens while it is read."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from clampgateway.bridges.mqtt.closed import ClosedTopics
from clampgateway.bridges.mqtt.trials import Trials
from clampgateway.bridges.mqtt.work import QUOTA, TOO_LARGE, RangeWork
from clampgateway.feed.ranges import LIVE, RECORDS, Ranges
from clampgateway.model import RECORD, Item, Stored

DENIED = 0x87
TOPIC = "hall/lathe/history"


def stored(number: int) -> Stored:
    return Stored(number, Item("lathe", 1, number, RECORD, 0, 0, 0, 7, b""))


def put(ranges: Ranges, number: int, topic: str = "", reason: int = 0) -> Any:  # noqa: ANN401
    return ranges.put(LIVE, topic, "lathe", RECORDS, number, reason)


def waiting(ranges: Ranges) -> list[int]:
    return [number for number in range(200) if ranges.covers("lathe", RECORD, number)]


class Context:
    """A log of records 1 to 199; `meanwhile` happens while it is read."""

    def __init__(self) -> None:
        self.meanwhile = lambda: None
        self.gone = False

    async def read_ids(
        self, _device: str, _kinds: int, after: int, up_to: int, limit: int
    ) -> list[Stored]:
        self.meanwhile()
        numbers = [] if self.gone else range(after + 1, min(up_to, after + limit) + 1)
        return [stored(number) for number in numbers]

    def mono(self) -> float:
        return 1000.0


def reader_of(ranges: Ranges) -> Any:  # noqa: ANN401
    return SimpleNamespace(lanes=SimpleNamespace(ranges=ranges))


def test_a_range_that_was_refused_and_is_ready_again_is_sent_whole() -> None:
    ranges = Ranges()
    each = put(ranges, 5)
    for number in (6, 7, 8):
        put(ranges, number)
    context: Any = Context()
    work = RangeWork(reader_of(ranges), context, each)
    step = asyncio.run(work.read())
    assert [each.id for each in step.items] == [5, 6, 7, 8]
    work.refused(step.items[0], TOPIC, DENIED)
    assert work.stale
    assert ranges.reopen(TOPIC) == 1, "a trial was taken"
    assert work.stale, "what is left of it was dropped"
    work.done(step)
    assert waiting(ranges) == [5, 6, 7, 8]
    assert ranges.ready == 1


def test_what_is_put_aside_below_a_range_is_not_delivered_with_it() -> None:
    ranges = Ranges()
    late = put(ranges, 100)
    put(ranges, 90)
    put(ranges, 91)
    ranges.drained(late, 100)
    assert {90, 91} <= set(waiting(ranges))


def test_a_range_that_was_joined_to_another_is_not_counted_twice() -> None:
    ranges = Ranges()
    each = put(ranges, 5)
    ranges.drained(each, 5)
    ranges.refuse(each, TOPIC, DENIED)
    put(ranges, 6)
    assert (ranges.count, ranges.ready) == (1, 1)


def trials_of(ranges: Ranges, context: Context, closed: ClosedTopics) -> Trials:
    topics = SimpleNamespace(data="hall/lathe/data", history=TOPIC, event="hall/lathe/event")
    route = SimpleNamespace(topics=topics, device="lathe")
    routes: Any = SimpleNamespace(at=lambda _device: route, make=lambda _route, _item: (b"{}", 0))
    world: Any = context

    def refused(_route: object, topic: str, code: int) -> None:
        if code not in (QUOTA, TOO_LARGE):  # as the bridge does
            closed.refuse(topic, code, context.mono())

    return Trials(
        reader_of(ranges), world, routes, closed, Counter(), refused, lambda: None
    )  # fmt: skip


def test_what_joins_a_closed_topic_while_a_trial_is_looked_for_stays() -> None:
    ranges, context, closed = Ranges(), Context(), ClosedTopics()
    put(ranges, 5, TOPIC, DENIED)
    closed.refuse(TOPIC, DENIED, 0.0)

    def meanwhile() -> None:
        context.gone = not context.gone  # what was there is no longer; the next look finds more
        if context.gone:
            put(ranges, 6, TOPIC, DENIED)

    context.meanwhile = meanwhile
    trial = asyncio.run(trials_of(ranges, context, closed)._make(TOPIC))
    assert trial is not None
    assert waiting(ranges) == [6]


@pytest.mark.parametrize(("code", "reason"), [(QUOTA, DENIED), (TOO_LARGE, None), (0x99, 0x99)])
def test_what_is_said_of_a_trial_is_not_always_said_of_its_topic(
    code: int, reason: int | None
) -> None:
    ranges, context, closed = Ranges(), Context(), ClosedTopics()
    put(ranges, 5, TOPIC, DENIED)
    closed.refuse(TOPIC, DENIED, 0.0)
    trials = trials_of(ranges, context, closed)
    assert closed.due(1000.0) == TOPIC
    trial = asyncio.run(trials._make(TOPIC))
    assert trial is not None
    trials._answered(0, trial, code)
    if reason is None:
        assert TOPIC not in closed
        assert ranges.ready == 1
    else:
        assert closed.reason(TOPIC) == reason
        assert 1000.0 < closed.next_due_s() < 2000.0
    assert waiting(ranges) == [5]
