"""Commands by MQTT: what is let in, once, and what is refused; with a real mosquitto."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from clampgateway import topics
from clampgateway.bridges.mqtt import MqttBridge, MqttSettings
from clampgateway.bridges.mqtt.gate import BURST, REMEMBERED, Again, Asked, Gate, Refusal
from clampgateway.bridges.mqtt.replays import MISSING_MAX, Replay
from clampgateway.model import RECORD, Item
from clampgateway.mqttsession import Message
from clampgateway.topics import ReplayAnswer, Topics
from support import gateway_parts, readings
from support.gateway_parts import GatewayParts, serving, until
from support.mosquitto import Mosquitto
from support.readings import CURRENT
from support.subscriber import Subscriber, subscribed

BASE = "clampwork/hall 1"
GATEWAY_ID = "gw-7"
NAMES = Topics("clampwork", "hall 1")
ABOUT = readings.description("aaa", (CURRENT,))
MakeBroker = Callable[..., Mosquitto]


def message(payload: bytes, name: str = "replay", device: str = "aaa", **more: Any) -> Message:  # noqa: ANN401 - fields
    return Message(f"{BASE}/{device}/cmd/{name}", payload, **more)


def replay(first: int = 1, last: int = 5, ident: str | None = "r-1", **more: object) -> bytes:
    content = {"id": ident, "boot": 17, "first": first, "last": last, **more}
    return json.dumps({key: value for key, value in content.items() if value is not None}).encode()


def gate(*allowed: str) -> Gate:
    return Gate(NAMES, GATEWAY_ID, allowed)


# --- the gate ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (message(b"x" * 4097), "oversize"),
        (message(b"{}", cut=9000), "oversize"),
        (message(b"[" * 9 + b"]" * 9), "deep"),
        (message(b"{" * 4000), "deep"),
        (message(b'{"id":"a","boot":17,"first":1'), "no_json"),
        (message(b"\xff\xfe"), "no_json"),
        (message(replay(boot="17")), "wrong_type"),
        (message(replay(boot=-1)), "wrong_type"),
        (message(replay(boot=1 << 32)), "wrong_type"),
        (message(replay(boot=1.5)), "wrong_type"),
        (message(replay(boot=None)), "wrong_type"),
        (message(replay(boot=[1])), "wrong_type"),
        (message(replay(path="../../etc")), "wrong_type"),
        (message(replay(ident="x" * 65)), "wrong_type"),
        (message(b"[]"), "wrong_type"),
        (message(b"null"), "wrong_type"),
        (message(replay(5, 1)), "wrong_range"),
        (message(replay(ident=None)), "no_id"),
        (message(replay(), retain=True), "retained"),
        (message(replay(), correlation=b"x" * 300), "oversize"),
        (message(b'{"id":"a"}', "reset"), "not_allowed"),
        (message(b'{"id":"a"}', "../replay"), "wrong_topic"),
        (message(b'{"id":"a"}', "why", "%zz"), "wrong_topic"),
        (Message(f"{BASE}/_gateway/other/cmd/replay", replay()), "wrong_topic"),
        (Message("elsewhere/hall 1/aaa/cmd/replay", replay()), "wrong_topic"),
        (message(b'{"id":"a","args":[1]}', "why"), "wrong_type"),
        (message(b'{"id":"a","args":{},"more":1}', "why"), "wrong_type"),
    ],
)
def test_what_is_wrong_is_refused_by_its_reason(asked: Message, reason: str) -> None:
    one = gate("why")
    found = one.check(asked, 0.0)
    assert isinstance(found, Refusal)
    assert found.reason == reason
    assert one.refused == {reason: 1}
    if reason == "retained":
        assert found.payload is None
        return
    assert found.payload is not None
    answer = json.loads(found.payload)
    assert (answer["ok"], answer["reason"]) == (False, reason)
    assert answer["error"]
    good = one.check(message(replay(ident="good")), 0.0)
    assert isinstance(good, Asked), "and nothing of it stays"


@settings(max_examples=300, deadline=None)
@given(
    payload=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["id", "boot", "first", "last", "args"]), inner)
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
    name=st.sampled_from(["replay", "why", "reset", "", "cmd"]),
    retain=st.booleans(),
    correlation=st.none() | st.binary(max_size=8),
)
def test_no_payload_does_more_than_be_counted(
    payload: bytes, name: str, retain: bool, correlation: bytes | None
) -> None:
    one = gate("why")
    asked = message(payload, name, retain=retain, correlation=correlation)
    found = one.check(asked, 0.0)
    if isinstance(found, Refusal):
        assert sum(one.refused.values()) == 1
        return
    assert isinstance(found, Asked)
    assert name in ("replay", "why")
    assert not retain
    content = json.loads(payload or b"{}")
    if name == "replay":
        assert 0 <= content["first"] <= content["last"] <= 0xFFFFFFFF
    assert isinstance(one.check(asked, 0.0), Again), "the same is not done twice"


def test_the_same_request_is_done_once_and_answered_as_before() -> None:
    one = gate()
    first = one.check(message(replay()), 0.0)
    assert isinstance(first, Asked)
    again = one.check(message(replay()), 0.1)
    assert again == Again(None, message(replay())), "it runs: the answer goes to the first"
    one.answered(first, b"done")
    again = one.check(message(replay()), 0.2)
    assert isinstance(again, Again)
    assert again.payload == b"done"
    assert one.repeated == 2
    other = one.check(message(replay(last=6)), 0.3)
    assert isinstance(other, Refusal)
    assert other.reason == "id_used"
    elsewhere = one.check(message(replay(), device="bbb"), 0.4)
    assert isinstance(elsewhere, Asked), "an id is of one topic"
    by_correlation = message(replay(ident=None), correlation=b"c1")
    assert isinstance(one.check(by_correlation, 0.5), Asked)
    assert isinstance(one.check(by_correlation, 0.6), Again)
    for number in range(REMEMBERED):
        asked = one.check(message(replay(ident=f"n{number}")), float(number))
        assert isinstance(asked, Asked)
    assert len(one._seen) == REMEMBERED


def test_a_flood_is_thrown_away() -> None:
    one = gate()
    kinds = [type(one.check(message(replay(ident=f"{n}")), 0.0)) for n in range(3 * BURST)]
    assert kinds.count(Asked) == BURST
    assert one.refused == {"rate": 2 * BURST}
    late = one.check(message(replay(ident="late")), 1.0)
    assert isinstance(late, Asked), "a second later there is room again"


# --- what a replay says -----------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    first=st.integers(0, 30),
    size=st.integers(0, 40),
    kept=st.sets(st.integers(0, 80)),
    condensed=st.sets(st.integers(0, 80), max_size=3),
    gaps=st.lists(st.tuples(st.integers(0, 80), st.integers(0, 10)), max_size=3),
)
def test_the_answer_of_a_replay_covers_every_number(
    first: int, size: int, kept: set[int], condensed: set[int], gaps: list[tuple[int, int]]
) -> None:
    last = first + size
    answers: list[object] = []
    one = Replay("aaa", 17, first, last, answers.append)
    covered: set[int] = set()
    for seq in sorted(kept | condensed):
        if first <= seq <= last:
            before = min(seq, 9) if seq in condensed else 0
            one.took(readings.record(ABOUT, seq, {}), before)
            covered |= set(range(seq - before, seq + 1))
    for begin, width in gaps:
        seq = begin + width + 1
        one.took(readings.gap(ABOUT, seq, "spool_full", begin, begin + width, 0), 0)
        covered |= set(range(begin, begin + width + 2))
    answer = one.answer()
    assert isinstance(answer, ReplayAnswer)
    told = [number for a, b in answer.missing for number in range(a, b + 1)]
    assert told == [number for number in range(first, last + 1) if number not in covered]


def test_to_the_end_means_as_far_as_is_known() -> None:
    one = Replay("aaa", 17, 1, 0xFFFFFFFF, print)
    for seq in (1, 2, 5):
        one.took(readings.record(ABOUT, seq, {}), 0)
    answer = one.answer()
    assert isinstance(answer, ReplayAnswer)
    assert answer.missing == [[3, 4]]
    empty = Replay("aaa", 17, 1, 0xFFFFFFFF, print).answer()
    assert isinstance(empty, ReplayAnswer)
    assert (empty.records, empty.missing) == (0, [])


def test_a_great_many_holes_are_told_as_few() -> None:
    one = Replay("aaa", 17, 0, 10_000, print)
    for seq in range(0, 10_000, 2):
        one.took(readings.record(ABOUT, seq, {}), 0)
    missing = one.missing()
    assert len(missing) == MISSING_MAX
    assert missing[0] == [1, 1]
    assert missing[-1] == [199, 10_000], "no number is left out"


# --- with a broker ----------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def bridged(
    parts: GatewayParts, port: int, *allowed: str, protocol: str = "5"
) -> AsyncIterator[MqttBridge]:
    settings = MqttSettings(port=port, allow_commands=allowed, protocol=protocol)  # type: ignore[arg-type]
    bridge = MqttBridge(settings, parts.context)
    async with serving(bridge.run):
        await until(lambda: bridge.stats()["retained"] > 0, "a connection")
        yield bridge


def running(folder: Path) -> contextlib.AbstractAsyncContextManager[GatewayParts]:
    return gateway_parts.running(folder, utc_ms=lambda: readings.UTC_MS)


def record(seq: int) -> Item:
    return readings.record(ABOUT, seq, {"current1": {"rms": seq / 100, "peak": 1}})


async def ask(
    port: int,
    topic: str,
    payload: bytes,
    *,
    response: str | None = None,
    correlation: bytes | None = None,
    retain: bool = False,
) -> None:
    """Publishes a request as a platform does."""
    properties = None
    if response is not None:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = response
        properties.CorrelationData = correlation or b"-"
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.publish(topic, payload, qos=1, retain=retain, properties=properties)


def answers(seen: Subscriber, end: str = "/result") -> list[dict[str, Any]]:
    return [each.content for each in seen.on(end)]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_replay_brings_what_was_published_before(
    mosquitto: MakeBroker, tmp_path: Path, protocol: str
) -> None:
    broker = mosquitto()

    async def scenario() -> None:
        async with running(tmp_path) as parts, subscribed(broker.port) as seen:
            parts.describe(ABOUT, readings.identity("aaa"))
            async with bridged(parts, broker.port, protocol=protocol) as bridge:
                await parts.commit([record(seq) for seq in range(1, 31)])
                await parts.commit([readings.event(ABOUT, 31, "state", 255, 3, "working")])
                await until(lambda: len(seen.on("/data")) == 30 and seen.on("/event"), "all")
                topic = f"{BASE}/aaa/cmd/replay"
                await ask(broker.port, topic, replay(11, 40))
                await until(lambda: answers(seen), "the answer")
                assert answers(seen) == [
                    {
                        "ok": True, "records": 20, "events": 1, "gaps": 0, "condensed": 0,
                        "missing": [[32, 40]], "id": "r-1",
                    }
                ]  # fmt: skip
                again = [each for m in seen.on("/history") for each in m.content]
                live = [m.content for m in seen.on("/data")]
                assert again == live[10:], "the same content"
                assert len(seen.on("/event")) == 2
                await ask(broker.port, topic, replay(11, 40))
                await until(lambda: len(answers(seen)) == 2, "the same answer")
                gateway = f"{BASE}/_gateway/gw-7/cmd/replay"
                await ask(broker.port, gateway, replay(1, 1, "g", device="aaa"))
                await until(lambda: len(answers(seen)) == 3, "the gateway's own topic")
                assert answers(seen)[2]["records"] == 1
                await ask(broker.port, gateway, replay(1, 1, "h", device="zzz"))
                await until(lambda: len(answers(seen)) == 4, "a refusal")
                assert answers(seen)[3]["reason"] == "unknown_device"
                stats = bridge.stats()
                assert stats["replays"] == 2, "the second time it was only answered"
                assert stats["commands"]["repeated"] == 1
                assert sum(len(m.content) for m in seen.on("/history")) == 21

    asyncio.run(scenario())


def test_answers_go_where_the_request_says_but_not_among_ours(
    mosquitto: MakeBroker, tmp_path: Path
) -> None:
    broker = mosquitto()

    async def scenario() -> None:
        async with running(tmp_path) as parts, subscribed(broker.port) as seen:
            parts.describe(ABOUT, readings.identity("aaa"))
            async with bridged(parts, broker.port, "why") as bridge:
                topic = f"{BASE}/aaa/cmd/why"
                await ask(
                    broker.port, topic, b'{"args":{"a":1}}', response="me/1", correlation=b"7"
                )
                await until(lambda: seen.on("me/1"), "the answer")
                assert seen.on("me/1")[0].content == {
                    "ok": True, "answer": {"did": "why", "a": 1},
                }  # fmt: skip
                assert parts.asked == [("aaa", "why", {"a": 1})]
                forged = f"{BASE}/bbb/data"
                await ask(broker.port, topic, b'{"id":"x"}', response=forged, correlation=b"8")
                await until(lambda: bridge.stats()["commands"]["unanswerable"] == 1, "no answer")
                assert not seen.on("bbb/data")

    asyncio.run(scenario())


def test_hostile_requests_change_nothing(mosquitto: MakeBroker, tmp_path: Path) -> None:
    broker = mosquitto()
    hostile = [
        (f"{BASE}/aaa/cmd/replay", b"x" * 5000, False, "oversize"),
        (f"{BASE}/aaa/cmd/replay", b"[" * 3000, False, "deep"),
        (f"{BASE}/aaa/cmd/replay", replay(boot="17"), False, "wrong_type"),
        (f"{BASE}/aaa/cmd/reset", b'{"id":"a"}', False, "not_allowed"),
        (f"{BASE}/%zz/cmd/replay", replay(), False, "wrong_topic"),
        (f"{BASE}/../cmd/replay", replay(), False, "unknown_device"),
    ]

    async def scenario() -> None:
        # Kept by the broker before the gateway comes: of unknown age, and not to be done.
        await ask(broker.port, f"{BASE}/aaa/cmd/why", b'{"id":"old"}', retain=True)
        async with running(tmp_path) as parts, subscribed(broker.port) as seen:
            parts.describe(ABOUT, readings.identity("aaa"))
            async with bridged(parts, broker.port, "why") as bridge:
                await parts.commit([record(seq) for seq in range(1, 6)])
                await until(lambda: len(seen.on("/data")) == 5, "records")
                await until(lambda: not bridge.stats()["waiting"], "their answers")
                before = (parts.feed.cursors(), parts.feed.parked(), len(parts.devices))
                for topic, payload, retain, _reason in hostile:
                    await ask(broker.port, topic, payload, retain=retain)
                refused = {reason: 1 for *_rest, reason in hostile} | {"retained": 1}
                session = bridge.stats

                def counted() -> bool:
                    counts = dict(session()["commands"]["refused"])
                    # An oversized one may have been stopped by the broker or the session.
                    oversize = session()["oversize"] > 0 or counts.get("oversize")
                    counts.pop("oversize", None)
                    rest = {key: n for key, n in refused.items() if key != "oversize"}
                    return counts == rest and bool(oversize)

                with contextlib.suppress(TimeoutError):
                    await until(counted, "all are counted", 5)
                assert counted(), session()
                assert parts.asked == [], "nothing was done"
                assert (parts.feed.cursors(), parts.feed.parked(), len(parts.devices)) == before
                assert not seen.on("/history")
                assert session()["connected"]
                assert session()["connects"] == 1
                told = {"deep", "wrong_type", "not_allowed", "unknown_device"}
                await until(
                    lambda: {each.get("reason") for each in answers(seen)} >= told, "answers"
                )

    asyncio.run(scenario())


def test_only_known_words_may_be_allowed() -> None:
    with pytest.raises(ValueError, match="allow_commands"):
        MqttSettings(allow_commands=("../reset",))
    assert topics.PAYLOAD_MAX == 4096
    assert RECORD == 4
