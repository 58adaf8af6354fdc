"""The MQTT bridge on a real store and feed, with a real mosquitto and real subscribers."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from clampgateway.bridges.mqtt import MqttBridge, MqttSettings, closed, retained
from clampgateway.devices import MachineState
from clampgateway.model import RECORD, Item
from support import gateway_parts, readings
from support.gateway_parts import GatewayParts, serving, until
from support.mosquitto import Mosquitto
from support.ports import free_port, listens, wait_for
from support.readings import CURRENT
from support.skips import need_debian
from support.subscriber import Subscriber, subscribed

BASE = "clampwork/hall 1"
GATEWAY = f"{BASE}/_gateway/gw-7/availability"
ABOUT = readings.description("aaa", (CURRENT,))
MakeBroker = Callable[..., Mosquitto]


def running(folder: Path) -> contextlib.AbstractAsyncContextManager[GatewayParts]:
    """A gateway whose clock stands where the records were made, so that they are fresh."""
    return gateway_parts.running(folder, utc_ms=lambda: readings.UTC_MS)


def records(first: int, last: int, device: str = "aaa") -> list[Item]:
    about = readings.description(device, (CURRENT,))
    return [
        readings.record(about, seq, {"current1": {"rms": seq / 100, "peak": 1}})
        for seq in range(first, last + 1)
    ]


@contextlib.asynccontextmanager
async def bridged(
    parts: GatewayParts, port: int, protocol: str = "5"
) -> AsyncIterator[MqttBridge]:
    settings = MqttSettings.model_validate({"port": port, "protocol": protocol})
    bridge = MqttBridge(settings, parts.context)
    async with serving(bridge.run):
        await until(lambda: bridge.stats()["retained"] > 0, "a connection that serves")
        yield bridge


async def all_of(seen: Subscriber, count: int, device: str = "aaa", timeout_s: float = 15) -> None:
    """Waits for so many different records, live or as history."""
    start = f"{BASE}/{device}/"

    def names() -> set[tuple[int, int]]:
        return {(each["boot"], each["seq"]) for each in seen.records(start)}

    await until(lambda: len(names()) >= count, f"{count} records of {device}", timeout_s)


async def got(seen: Subscriber, count: int, end: str = "/data", timeout_s: float = 15.0) -> None:
    await until(lambda: len(seen.on(end)) >= count, f"{count} messages on {end}", timeout_s)


def test_what_is_committed_arrives_once_and_in_order(
    mosquitto: MakeBroker, tmp_path: Path
) -> None:
    broker = mosquitto()

    async def scenario() -> None:
        async with running(tmp_path) as parts, subscribed(broker.port) as seen:
            parts.describe(ABOUT, readings.identity("aaa", "lathe"))
            async with bridged(parts, broker.port) as bridge:
                await parts.commit(records(1, 150))
                await parts.commit(
                    [
                        readings.event(ABOUT, 151, "state", 255, 3, "current1 above 1.2 A"),
                        readings.gap(ABOUT, 152, "spool_full", 120, 130, 119_000),
                        *records(153, 300),
                    ]
                )
                await got(seen, 298)
                await until(lambda: parts.store.cursor("mqtt") == 300, "the durable cursor")
                stats = bridge.stats()
                assert (stats["records"], stats["events"], stats["waiting"]) == (298, 2, 0)
                assert (stats["refused"], stats["unreadable"]) == (0, 0)
            topic = f"{BASE}/aaa"
            mine = [m for m in seen.messages if m.topic.startswith(topic)]
            lanes = [m.topic.removeprefix(f"{topic}/") for m in mine]
            assert lanes.index("birth") < lanes.index("data"), "no data without a birth"
            in_order = [m.content["seq"] for m in mine if m.topic.endswith(("/data", "/event"))]
            assert in_order == list(range(1, 301))
            assert {m.qos for m in mine} == {1}
            first = seen.on("/data")[0]
            assert first.payload == (
                b'{"t":%d,"dur":1000,"boot":17,"seq":1,"q":"good","f":[],'
                b'"ch":{"current1":{"rms":0.01,"peak":1.0,"crest":100.0}}}'
            ) % (readings.UTC_MS + 1000)
            state, gap = (m.content for m in seen.on("/event"))
            assert (state["kind"], state["value"]) == ("state", 3)
            assert (gap["kind"], gap["first"], gap["last"]) == ("gap", 120, 130)

    asyncio.run(scenario())


def test_what_is_true_now_is_retained(mosquitto: MakeBroker, tmp_path: Path) -> None:
    broker = mosquitto()

    async def retained_now() -> dict[str, bytes]:
        async with subscribed(broker.port) as late:
            await late.caught_up()
        assert all(message.retained for message in late.messages)
        return {m.topic.removeprefix(f"{BASE}/"): m.payload for m in late.messages}

    async def scenario() -> None:
        async with running(tmp_path) as parts, subscribed(broker.port) as seen:
            parts.describe(ABOUT, readings.identity("aaa", "lathe"))
            async with bridged(parts, broker.port):
                await parts.commit(records(1, 3))
                await got(seen, 1, "aaa/birth")
                await got(seen, 3)
                now = await retained_now()
                assert set(now) == {
                    "aaa/birth", "aaa/availability", "aaa/state", "_gateway/gw-7/availability",
                }  # fmt: skip
                assert now["aaa/availability"] == b"online"
                assert now["_gateway/gw-7/availability"] == b"online"
                assert json.loads(now["aaa/birth"])["channels"][0]["key"] == "current1"
                assert json.loads(now["aaa/state"]) == {
                    "machine": "lathe", "state": "unknown", "since": None, "why": "",
                }  # fmt: skip
                parts.state("aaa", MachineState("working", 1_763_750_000_000, "current1 2.1 A"))
                parts.link("aaa", online=False)
                await until(lambda: seen.last("aaa/availability") == b"offline")
                assert json.loads((await retained_now())["aaa/state"])["state"] == "working"
                before = len(seen.on("aaa/birth"))
                parts.describe(ABOUT, readings.identity("aaa", "lathe"))
                await until(lambda: seen.last("aaa/availability") == b"online")
                assert len(seen.on("aaa/birth")) == before, "nothing new is not published"
            now = await retained_now()
            assert now["_gateway/gw-7/availability"] == b"offline", "a clean stop says so"
            assert seen.last(GATEWAY) == b"offline"

    asyncio.run(scenario())


def test_nothing_is_lost_while_the_broker_is_away(mosquitto: MakeBroker, tmp_path: Path) -> None:
    broker = mosquitto(persistence=True)

    async def scenario() -> None:
        async with subscribed(broker.port, f"{BASE}/aaa/#", session="platform"):
            pass  # the subscription stays
        async with running(tmp_path) as parts:
            parts.describe(ABOUT)
            async with bridged(parts, broker.port) as bridge:
                for number in range(4):
                    await until(lambda: bridge.stats()["connected"], "a connection")
                    await parts.commit(records(100 * number + 1, 100 * number + 60))
                    await asyncio.sleep(0.03 * number)  # in the middle of it, or not
                    broker.stop()
                    await parts.commit(records(100 * number + 61, 100 * number + 100))
                    await until(lambda: not bridge.stats()["connected"], "the loss")
                    broker.start()
                await until(lambda: bridge.stats()["waiting"] == 0, "all acknowledged", 30)
                await until(lambda: parts.store.cursor("mqtt") == 400, "the cursor", 30)
                assert bridge.stats()["losses"] == 4
        async with subscribed(broker.port, f"{BASE}/aaa/#", session="platform") as seen:
            await all_of(seen, 400, timeout_s=30)
        by_seq: dict[int, set[str]] = {}
        for each in seen.records():
            by_seq.setdefault(each["seq"], set()).add(json.dumps(each))
        assert set(by_seq) == set(range(1, 401))
        assert all(len(contents) == 1 for contents in by_seq.values()), "again, but the same"
        in_history = [each["seq"] for m in seen.on("/history") for each in m.content]
        firsts = sorted(set(in_history), key=in_history.index)
        assert firsts == sorted(firsts), "history begins with the oldest"
        assert len(firsts) >= 4 * 40, "what came while the broker was away"


def test_a_restarted_gateway_goes_on_behind_what_was_acknowledged(
    mosquitto: MakeBroker, tmp_path: Path
) -> None:
    broker = mosquitto()

    async def scenario() -> None:
        async with subscribed(broker.port, f"{BASE}/aaa/#") as seen:
            async with running(tmp_path) as parts:
                parts.describe(ABOUT)
                async with bridged(parts, broker.port):
                    await parts.commit(records(1, 50))
                    await got(seen, 50)
                await parts.commit(records(51, 80))  # nobody publishes these now
            assert len(seen.on("/data")) == 50
            before = len(seen.messages)
            async with running(tmp_path) as parts, bridged(parts, broker.port) as bridge:
                await all_of(seen, 80)
                await parts.commit(records(81, 90))
                await got(seen, 60)
                assert seen.seqs() == [*range(1, 51), *range(81, 91)]
                (array,) = seen.on("/history")
                assert [each["seq"] for each in array.content] == list(range(51, 81))
                assert bridge.stats()["left_out"] == 30
                # The device has not come back: what is known of it is told, and that it is off.
                birth = seen.on("/birth")[-1].content
                assert (birth["device"], "firmware" in birth) == ("aaa", False)
                # Before the first record that needs it.
                kinds = [each.topic.rpartition("/aaa/")[2] for each in seen.messages[before:]]
                assert kinds.index("birth") < min(map(kinds.index, ("data", "history")))
                assert seen.last("/availability") == b"offline"
                await until(lambda: bridge.stats()["waiting"] == 0)

    asyncio.run(scenario())


def test_a_bridge_that_runs_again_leaves_nothing_out(
    mosquitto: MakeBroker, tmp_path: Path
) -> None:
    broker = mosquitto()

    async def scenario() -> None:
        async with running(tmp_path) as parts, subscribed(broker.port) as seen:
            parts.describe(ABOUT)
            bridge = MqttBridge(MqttSettings(port=broker.port), parts.context)
            for number in range(5):
                async with serving(bridge.run):
                    await parts.commit(records(40 * number + 1, 40 * number + 40))
                    await asyncio.sleep(0.01 * number)
            async with serving(bridge.run):
                await all_of(seen, 200)

    asyncio.run(scenario())


def test_what_an_acl_denies_is_parked_and_the_others_flow(
    mosquitto: MakeBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closed, "RETRY_FIRST_S", 0.3)
    monkeypatch.setattr(closed, "RETRY_MAX_S", 0.3)
    monkeypatch.setattr(retained, "RETRY_S", 0.3)
    acl = tmp_path / "acl"
    acl.write_text(f"topic read #\ntopic write {BASE}/aaa/#\ntopic write {BASE}/_gateway/#\n")
    broker = mosquitto(extra=f"acl_file {acl}")

    async def scenario() -> None:
        async with running(tmp_path) as parts, subscribed(broker.port) as seen:
            for device in ("aaa", "bbb"):
                parts.describe(readings.description(device, (CURRENT,)), readings.identity(device))
            async with bridged(parts, broker.port) as bridge:
                await parts.commit([*records(1, 5), *records(1, 5, "bbb"), *records(6, 10)])
                await got(seen, 10, "aaa/data")
                await until(lambda: bridge.stats()["parked"] == 5, "five parked")
                # Records, and birth, state, availability: each is tried, and none of them taken.
                await until(lambda: bridge.stats()["reasons"]["0x87"] >= 5 + 3, "all refused")
                await until(lambda: not bridge.stats()["waiting"], "the answers to the others")
                stats = bridge.stats()
                assert stats["parked_topics"] == {
                    f"{BASE}/bbb/data": {"reason": "0x87", "count": 5, "exact": True}
                }
                assert f"{BASE}/bbb/data (0x87)" in stats["alarm"]
                assert not seen.on("bbb/data")
                await until(lambda: parts.store.cursor("mqtt") == 15, "the cursor")
                assert parts.store.parked()["mqtt"][0].topic == f"{BASE}/bbb/data"
                assert stats["connected"], "a refusal is no reason to disconnect"
                acl.write_text("topic readwrite #\n")
                os.kill(broker.pid, signal.SIGHUP)
                await all_of(seen, 5, "bbb")
                await got(seen, 1, "bbb/birth")
                await until(lambda: not parts.store.parked().get("mqtt"), "nothing is parked")
                assert seen.seqs("bbb/data") == [1], "the oldest, as a trial"
                assert [each["seq"] for each in seen.records(f"{BASE}/bbb/")] == [1, 2, 3, 4, 5]
                assert seen.seqs("aaa/data") == list(range(1, 11)), "and no other came twice"
                stats = bridge.stats()
                assert (stats["parked"], stats["alarm"]) == (0, "")
                await parts.commit(records(6, 8, "bbb"))
                await got(seen, 4, "bbb/data")

    asyncio.run(scenario())


def test_an_unreadable_item_is_counted_and_holds_up_nobody(
    mosquitto: MakeBroker, tmp_path: Path
) -> None:
    broker = mosquitto()
    broken = Item("aaa", 17, 2, RECORD, 2000, 1, True, ABOUT.crc, b"\x04\x00")
    undescribed = records(3, 3)[0]._replace(describe_crc=1)

    async def scenario() -> None:
        async with running(tmp_path) as parts, subscribed(broker.port) as seen:
            parts.describe(ABOUT)
            async with bridged(parts, broker.port) as bridge:
                await parts.commit([*records(1, 1), broken, undescribed, *records(4, 4)])
                await got(seen, 2)
                assert seen.seqs() == [1, 4]
                assert bridge.stats()["unreadable"] == 2
                await until(lambda: parts.store.cursor("mqtt") == 4)

    asyncio.run(scenario())


def test_the_will_tells_that_the_gateway_died(mosquitto: MakeBroker, tmp_path: Path) -> None:
    broker = mosquitto()

    async def scenario() -> None:
        async with running(tmp_path) as parts, subscribed(broker.port, GATEWAY) as seen:
            async with bridged(parts, broker.port) as bridge:
                await until(lambda: seen.last(GATEWAY) == b"online")
                connection = bridge._session._connection
                assert connection is not None
                connection.line.abort()  # no DISCONNECT, as in a crash
                await until(lambda: len(seen.messages) == 3)
            payloads = [message.payload for message in seen.messages]
            assert payloads[:3] == [b"online", b"offline", b"online"]

    asyncio.run(scenario())


def test_mosquitto_sub_prints_records(mosquitto: MakeBroker, tmp_path: Path) -> None:
    program = need_debian("mosquitto-clients", "mosquitto_sub")
    broker = mosquitto()

    async def scenario() -> None:
        command = [
            program, "-h", "127.0.0.1", "-p", str(broker.port), "-t", f"{BASE}/+/data",
            "-q", "1", "-C", "3", "-W", "15",
        ]  # fmt: skip
        printing = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        await until(lambda: "SUBACK" in broker.log.read_text(), "the subscription")
        async with running(tmp_path) as parts:
            parts.describe(ABOUT)
            async with bridged(parts, broker.port):
                await parts.commit(records(1, 3))
                out, _ = await printing.communicate()
        assert [json.loads(line)["seq"] for line in out.splitlines()] == [1, 2, 3]

    asyncio.run(scenario())


def test_the_embedded_broker_speaks_3_1_1(tmp_path: Path) -> None:
    pytest.importorskip("amqtt", reason="amqtt of the extra `tools` is not installed")
    port = free_port()
    command = [sys.executable, "-m", "clamptools.broker", "--port", str(port)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    async def scenario() -> None:
        async with running(tmp_path) as parts, subscribed(port, v5=False) as seen:
            parts.describe(ABOUT, readings.identity("aaa"))
            async with bridged(parts, port, "3.1.1") as bridge:
                await parts.commit(records(1, 60))
                await got(seen, 60)
                assert seen.seqs() == list(range(1, 61))
                await until(lambda: parts.store.cursor("mqtt") == 60)
                assert bridge.stats()["losses"] == 0

    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    ) as amqtt:
        try:
            wait_for(lambda: listens(port), 20, "amqtt")
            asyncio.run(scenario())
        finally:
            amqtt.terminate()
            amqtt.communicate(timeout=20)


@pytest.mark.parametrize(
    ("wrong", "part"),
    [
        ({"root": "a/#"}, "without + and #"),
        ({"protocol": "4"}, "protocol"),
        ({"window": 0}, "window"),
        ({"hots": "x"}, "hots"),
        ({"password_file": "/nowhere/at/all"}, "cannot read"),
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, object], part: str) -> None:
    with pytest.raises(ValidationError) as caught:
        MqttSettings.model_validate_json(json.dumps(wrong))
    assert part in str(caught.value)
