"""The broker refusing or limiting: what it does not take waits, the rest flows, nothing is lost.

A stub takes the broker's place only for reason codes that mosquitto does not give.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from clampgateway.bridges.mqtt import closed, retained
from clampwire import messages
from support import readings
from support.bridging import BASE, bridged, left, names, record, running
from support.faulttable import FaultTable
from support.gateway_parts import until
from support.mosquitto import Mosquitto
from support.readings import CURRENT
from support.stubbroker import StubBroker, stub_broker
from support.subscriber import subscribed

MakeBroker = Callable[..., Mosquitto]


def test_7_topics_that_an_acl_denies_are_parked_and_the_others_flow(
    mosquitto: MakeBroker,
    tmp_path: Path,
    faults: FaultTable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`history` and `event` of one device, then all of it; over a restart of the gateway."""
    monkeypatch.setattr(closed, "RETRY_FIRST_S", 0.3)
    monkeypatch.setattr(closed, "RETRY_MAX_S", 0.3)
    monkeypatch.setattr(retained, "RETRY_S", 0.3)
    acl = tmp_path / "acl"
    all_but = [f"{BASE}/aaa/#", f"{BASE}/_gateway/#", f"{BASE}/bbb/birth", f"{BASE}/bbb/data"]
    acl.write_text("topic read #\n" + "".join(f"topic write {each}\n" for each in all_but))
    broker = mosquitto(extra=f"acl_file {acl}")
    about = {d: readings.description(d, (CURRENT,)) for d in ("aaa", "bbb")}

    async def scenario() -> None:
        async with subscribed(broker.port, f"{BASE}/#") as seen:
            async with running(tmp_path) as parts:
                for device, each in about.items():
                    parts.describe(each, readings.identity(device))
                # Before there is a connection: for `history`.
                await parts.commit([record(d, seq) for seq in range(1, 11) for d in about])
                async with bridged(parts, broker.port) as bridge:
                    await until(lambda: len(seen.records(f"{BASE}/aaa/")) == 10, "the others")
                    await until(lambda: bridge.stats()["parked"] == 10, "history is parked")
                    await parts.commit(
                        [
                            *[record(d, seq) for seq in range(11, 21) for d in about],
                            *[readings.event(about[d], 21, "state", 255, 3, "x") for d in about],
                        ]
                    )
                    await until(lambda: len(seen.on("bbb/data")) == 10, "data is allowed")
                    await until(lambda: len(seen.on("aaa/event")) == 1, "the other's event")
                    await until(lambda: bridge.stats()["parked"] == 11, "and the event")
                    topics = bridge.stats()["parked_topics"]
                    assert set(topics) == {f"{BASE}/bbb/history", f"{BASE}/bbb/event"}
                    assert {each["reason"] for each in topics.values()} == {"0x87"}
            async with running(tmp_path) as parts:
                for device, each in about.items():
                    parts.describe(each, readings.identity(device))
                async with bridged(parts, broker.port) as bridge:
                    await until(lambda: bridge.stats()["connected"], "a connection")
                    await asyncio.sleep(0.5)  # longer than RETRY_MAX_S: each topic is tried
                    assert bridge.stats()["alarm"], "it is still known"
                    assert not seen.on("bbb/history")
                    acl.write_text("topic readwrite #\n")
                    os.kill(broker.pid, signal.SIGHUP)
                    await until(lambda: len(seen.records(f"{BASE}/bbb/")) == 20, "what was parked")
                    await until(lambda: len(seen.on("bbb/event")) == 1, "and the event")
                    await until(lambda: not bridge.stats()["parked"], "no alarm")
                    assert bridge.stats()["alarm"] == ""
            old = [each["seq"] for m in seen.on("bbb/history") for each in m.content]
            assert old == list(range(1, 11)), "oldest first"
        found = names(seen)
        expected = {(d, 17, seq) for d in about for seq in range(1, 21)}
        lost = len(expected - set(found))
        doubled = sum(found.values()) - len(found)
        faults.add("topics denied, 11 items parked", 11, lost, doubled)

    asyncio.run(scenario())


# --- reason codes that mosquitto does not give ------------------------------------------------


def published(stub: StubBroker, kind: str) -> list[dict[str, object]]:
    """Records or events that the stub was sent, in order; arrays one by one."""
    found: list[dict[str, object]] = []
    for _first, body in stub.publishes:
        size = int.from_bytes(body[:2], "big")
        topic, rest = body[2 : 2 + size].decode(), body[2 + size :]
        if topic.endswith(f"/{kind}"):
            content = json.loads(rest[3 + rest[2] :])
            found += content if isinstance(content, list) else [content]
    return found


def test_7_a_quota_slows_down_and_loses_nothing(tmp_path: Path, faults: FaultTable) -> None:
    async def scenario() -> None:
        async with stub_broker(ack=0x97) as stub, running(tmp_path) as parts:
            parts.describe(readings.description("aaa", (CURRENT,)), readings.identity("aaa"))
            async with bridged(parts, stub.port, window=10) as bridge:
                await until(lambda: bridge.stats()["connected"], "a connection")
                await asyncio.sleep(0.1)
                await parts.commit([record("aaa", seq) for seq in range(1, 101)])
                await until(lambda: bridge.stats()["pauses"] >= 2, "it slows down")
                assert len(published(stub, "data")) + len(published(stub, "history")) < 400
                assert bridge.stats()["parked"] == 0, "a quota closes no topic"
                before = len(stub.publishes)
                stub.ack = 0
                await until(lambda: not left(bridge), "all of it", 20)
                stub.publishes = stub.publishes[before:]
                came = [each["seq"] for each in published(stub, "data")]
                came += [each["seq"] for each in published(stub, "history")]
                lost = len(set(range(1, 101)) - set(came))
                doubled = len(came) - len(set(came))
                refused = bridge.stats()["reasons"]["0x97"]
                faults.add("quota exceeded (0x97)", refused, lost, doubled)
                await until(lambda: parts.store.cursor("mqtt") == 100, "the cursor")

    asyncio.run(scenario())


def test_7_what_is_too_large_is_parked_alone(tmp_path: Path, faults: FaultTable) -> None:
    """The broker takes 600 bytes: arrays become smaller. Then 120: a record waits for another."""
    about = readings.description("aaa", (CURRENT,))
    limit = b"\x27" + (600).to_bytes(4, "big")

    async def scenario() -> None:
        async with running(tmp_path) as parts:
            parts.describe(about, readings.identity("aaa"))
            event = readings.event(about, 51, "state", messages.NO_CHANNEL, 3, "working")
            await parts.commit([record("aaa", seq) for seq in range(1, 51)])
            async with stub_broker(properties=limit) as stub:
                async with bridged(parts, stub.port) as bridge:
                    await until(lambda: len(published(stub, "history")) == 50, "the backlog")
                    seqs = [each["seq"] for each in published(stub, "history")]
                    assert seqs == list(range(1, 51)), "in pieces, oldest first"
                    assert bridge.stats()["too_large"] > 0
                    await parts.commit([event])
                    await until(lambda: published(stub, "event"), "an event that fits")
                assert max(len(body) for _first, body in stub.publishes) <= 600
            small = b"\x27" + (120).to_bytes(4, "big")
            async with stub_broker(properties=small) as stub, bridged(parts, stub.port) as bridge:
                await until(lambda: bridge.stats()["connected"], "a connection")
                await parts.commit([record("aaa", seq) for seq in range(52, 57)])
                await until(lambda: bridge.stats()["parked"] == 5, "five are parked")
                topics = bridge.stats()["parked_topics"]
                assert {each["reason"] for each in topics.values()} == {"0x95"}
                assert not published(stub, "data")
            async with stub_broker() as stub, bridged(parts, stub.port) as bridge:
                await until(lambda: len(published(stub, "history")) == 5, "a larger broker")
                await until(lambda: not bridge.stats()["parked"], "nothing is parked")
                seqs = [each["seq"] for each in published(stub, "history")]
                faults.add("too large (0x95)", 5, len({52, 53, 54, 55, 56} - set(seqs)), 0)
                assert seqs == [52, 53, 54, 55, 56]

    asyncio.run(scenario())
