"""The MQTT bridge to a broker with TLS, client certificates and passwords, right and wrong ones.

What stands between a gateway and its broker then is a handful of files. While one of them is
wrong, everything waits in the store and the user is told which; when it is right, all of it comes.
Truth is what was committed. The subscriber is on a plain port of the same broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from clampgateway.bridges.mqtt import MqttBridge
from clampgateway.mqttsession import session as session_module
from clampwire import messages
from support import readings
from support.bridging import BASE, bridged, left, names, record, running
from support.faulttable import FaultTable
from support.gateway_parts import GatewayParts, until
from support.mosquitto import Mosquitto
from support.readings import CURRENT
from support.subscriber import Subscriber, subscribed
from support.tcpproxy import Proxy, proxy
from support.tlsfiles import GATEWAY, HOST, PLATFORM, Files

MakeBroker = Callable[..., Mosquitto]
RETAINED = ("aaa/birth", "aaa/availability", "aaa/state", "_gateway/gw-7/availability")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    folder = tmp_path / "files"
    folder.mkdir()
    return Files(folder)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "BACKOFF_FIRST_S", 0.05)


def describe(parts: GatewayParts) -> None:
    parts.describe(readings.description("aaa", (CURRENT,)), readings.identity("aaa"))


def records(first: int, last: int) -> list:
    return [record("aaa", seq) for seq in range(first, last + 1)]


def account(seen: Subscriber, last: int) -> tuple[int, int]:
    """(records 1 to `last` that are missing, further copies of what came)."""
    found = names(seen)
    wanted = {("aaa", 17, seq) for seq in range(1, last + 1)}
    assert set(found) <= wanted, "nobody made these"
    return len(wanted - set(found)), found.total() - len(found)


# --- all is right -----------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_all_that_the_bridge_does_over_tls(
    mosquitto: MakeBroker, files: Files, tmp_path: Path, faults: FaultTable, protocol: str
) -> None:
    broker = mosquitto(extra=files.broker_lines, allow_anonymous=False)
    settings = {**files.settings(), "protocol": protocol}

    async def retained_now() -> dict[str, bytes]:
        async with subscribed(broker.port, f"{BASE}/#", login=PLATFORM) as late:
            await late.caught_up()
        assert all(each.retained for each in late.messages)
        return {each.topic.removeprefix(f"{BASE}/"): each.payload for each in late.messages}

    async def scenario(parts: GatewayParts, seen: Subscriber, line: Proxy) -> None:
        describe(parts)
        await parts.commit(records(1, 500))
        async with bridged(parts, line.port, **settings) as bridge:
            await until(lambda: len(names(seen)) == 500, "the backlog")
            about = readings.description("aaa", (CURRENT,))
            state = readings.event(about, 521, "state", messages.NO_CHANNEL, 3, "working")
            await parts.commit([*records(501, 520), state])
            await until(lambda: len(seen.on("/data")) == 20, "live ones")
            kinds = [each.topic.rpartition("/aaa/")[2] for each in seen.messages]
            assert kinds.index("birth") < kinds.index("history") < kinds.index("data")
            now = await retained_now()
            assert set(now) == set(RETAINED)
            assert now["aaa/availability"] == now["_gateway/gw-7/availability"] == b"online"
            await until(lambda: not left(bridge), "all answers")
            line.refuse = True
            line.cut()
            await until(lambda: seen.last(RETAINED[-1]) == b"offline", "the will")
            await parts.commit(records(522, 560))
            assert left(bridge) == 39
            line.refuse = False
            begun_s = asyncio.get_running_loop().time()
            await until(lambda: bridge.stats()["connected"] and not left(bridge), "the rest", 20)
            recovery_s = asyncio.get_running_loop().time() - begun_s
            await seen.caught_up()
            wanted = {("aaa", 17, seq) for seq in range(1, 561) if seq != 521}
            found = names(seen)
            lost, doubled = len(wanted - set(found)), found.total() - len(found)
            cuts = line.reset + line.refused
            faults.add(f"TLS, MQTT {protocol}: line cut", cuts, lost, doubled, 0, recovery_s)
            assert set(found) == wanted
            assert seen.last(RETAINED[-1]) == b"online", "told anew"
            assert [each.content["kind"] for each in seen.on("/event")] == ["state"]
            request = {"id": "r-1", "boot": 17, "first": 7, "last": 9}
            await seen.publish(f"{BASE}/aaa/cmd/replay", request)
            await until(lambda: seen.on("cmd/replay/result"), "an answer to a command")
            assert seen.on("cmd/replay/result")[0].content["ok"]
            assert [each["seq"] for each in seen.on("/history")[-1].content] == [7, 8, 9]
        await seen.caught_up()
        assert seen.last(RETAINED[-1]) == b"offline", "a clean stop says so"

    async def run() -> None:
        async with (
            running(tmp_path) as parts,
            subscribed(broker.port, f"{BASE}/#", login=PLATFORM) as seen,
            proxy(files.port) as line,
        ):
            await scenario(parts, seen, line)

    asyncio.run(run())


# --- one file is wrong ------------------------------------------------------------------------


class Wrong(NamedTuple):
    """A file that is wrong, how it becomes right, and what is said of it meanwhile."""

    name: str
    spoil: Callable[[Files], None]
    mend: Callable[[Files], None]
    said: str
    is_of_broker: bool = False
    needs_restart: bool = False


WRONGS = [
    Wrong(
        "another authority believed",
        Files.believe_a_stranger,
        Files.believe_the_right_one,
        "certificate is not believed.*`ca_file` names the authority",
    ),
    Wrong(
        "broker's certificate expired",
        lambda files: files.certify_broker(days=0),
        Files.certify_broker,
        "certificate is not believed.*expired",
        is_of_broker=True,
    ),
    Wrong(
        "broker's certificate of another host",
        lambda files: files.certify_broker("broker.example"),
        Files.certify_broker,
        "certificate is not believed.*127.0.0.1",
        is_of_broker=True,
    ),
    Wrong(
        "gateway's certificate expired",
        lambda files: files.certify_gateway(days=0),
        Files.certify_gateway,
        "may not believe the certificate in `cert_file`",
    ),
    Wrong(
        "gateway's certificate of another authority",
        Files.certify_gateway_by_a_stranger,
        Files.certify_gateway,
        "may not believe the certificate in `cert_file`",
    ),
    Wrong(
        "wrong password",
        lambda files: files.say("secret"),
        lambda files: files.say(GATEWAY[1]),
        "0x8[67].*password_file",
        needs_restart=True,
    ),
]


@pytest.mark.parametrize("wrong", WRONGS, ids=[each.name for each in WRONGS])
def test_what_is_wrong_is_told_and_costs_nothing(
    mosquitto: MakeBroker,
    files: Files,
    tmp_path: Path,
    faults: FaultTable,
    caplog: pytest.LogCaptureFixture,
    wrong: Wrong,
) -> None:
    wrong.spoil(files)
    broker = mosquitto(extra=files.broker_lines, allow_anonymous=False, persistence=True)

    def platform() -> contextlib.AbstractAsyncContextManager[Subscriber]:
        return subscribed(broker.port, f"{BASE}/#", session="platform", login=PLATFORM)

    async def refused(parts: GatewayParts, bridge: MqttBridge) -> int:
        """Every try fails, with one reason, and nothing moves; how many tries that were."""
        async with platform() as seen:
            await until(lambda: bridge.stats()["failures"] >= 3, "some tries")
            await parts.commit(records(31, 60))
            stats = bridge.stats()
            assert re.search(wrong.said, stats["error"]), stats["error"]
            assert f"no connection to broker={HOST}:{files.port}: {stats['error']}" in caplog.text
            assert (stats["connected"], stats["connects"]) == (False, 0)
            assert left(bridge) == 60, "all of it waits"
            assert parts.store.cursor("mqtt") == 0
            await seen.caught_up()
            assert not seen.messages
        return stats["failures"]

    async def arrives(parts: GatewayParts, bridge: MqttBridge) -> None:
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        await until(lambda: bridge.stats()["connected"], "a connection", 30)
        async with platform() as seen:
            await until(lambda: not left(bridge), "all that waited", 30)
            recovery_s = loop.time() - begun_s
            await parts.commit(records(61, 70))
            await until(lambda: parts.store.cursor("mqtt") == 70, "the cursor")
            await seen.caught_up()
        lost, doubled = account(seen, 70)
        faults.add(f"TLS: {wrong.name}", tries, lost, doubled, 0, recovery_s)
        assert [each["seq"] for m in seen.on("/history") for each in m.content] == [*range(1, 61)]
        assert seen.seqs() == list(range(61, 71)), "what is new is live"
        kinds = [each.topic.rpartition("/aaa/")[2] for each in seen.messages]
        assert kinds.index("birth") < kinds.index("history")
        assert {each.topic.removeprefix(f"{BASE}/") for each in seen.messages} >= set(RETAINED)

    tries = 0

    async def scenario() -> None:
        nonlocal tries
        async with running(tmp_path) as parts, contextlib.AsyncExitStack() as stack:
            describe(parts)
            await parts.commit(records(1, 30))
            bridge = await stack.enter_async_context(
                bridged(parts, files.port, **files.settings())
            )
            tries = await refused(parts, bridge)
            wrong.mend(files)
            if wrong.is_of_broker:
                broker.stop()
                broker.start()
            if wrong.needs_restart:
                await stack.aclose()
                again = bridged(parts, files.port, **files.settings())
                bridge = await stack.enter_async_context(again)
            await arrives(parts, bridge)

    asyncio.run(scenario())
