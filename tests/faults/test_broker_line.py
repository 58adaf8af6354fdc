"""The line between the MQTT session and its broker: mute, slow, cut, refusing, flipping bits.

The broker is a real mosquitto behind a line that harms; its subscriber is on a healthy one. What
keeps items until they are acknowledged is here a few lines, as the bridge keeps them in the store.
Truth is what was made, and that is checked by content: each payload carries its own checksum, and
which try it is. An item may come again after a loss, in another try; a try may not come twice.
"""

from __future__ import annotations

import asyncio
import os
import random
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from clampgateway.mqttsession import Broker, Connection, MqttSession, Tls, Will, keepalive
from clampgateway.mqttsession import session as session_module
from support.authority import Authority
from support.faulttable import FaultTable
from support.gateway_parts import serving, until
from support.mosquitto import Mosquitto
from support.ports import free_port
from support.subscriber import Subscriber, subscribed
from support.tcpproxy import Proxy, proxy

MakeBroker = Callable[..., Mosquitto]
# Most of it is waiting for the subscriber, on a machine that is busy.
pytestmark = pytest.mark.timeout(240)
TOPIC = "clampwork/hall/aaa/data"
KEEPALIVE_S = 2
WINDOW = 20
# By default mosquitto acknowledges, and throws away for a subscriber that has 1,000 waiting.
UNBOUNDED = "max_queued_messages 0"


class Items:
    """Numbered items, kept until they are acknowledged; sent again, in order, when it must be."""

    def __init__(self, size: int = 200) -> None:
        self._size = size
        self.made = 0
        self.kept: dict[int, int] = {}  # number: tries so far
        self.most_in_flight = 0
        self._wake = asyncio.Event()

    def make(self, count: int) -> None:
        """So many more."""
        self.kept |= dict.fromkeys(range(self.made + 1, self.made + count + 1), 0)
        self.made += count
        self._wake.set()

    def _payload(self, number: int) -> bytes:
        self.kept[number] += 1
        text = b"%d %d " % (number, self.kept[number])
        text = text.ljust(self._size - 8, b".")
        return text + b"%08x" % zlib.crc32(text)

    async def serve(self, connection: Connection) -> None:
        """Sends all that is kept, and then what is made."""
        sent = 0
        while True:
            for number in [each for each in self.kept if each > sent]:
                if not connection.has_room:
                    await connection.room()
                if number in self.kept:
                    connection.send(TOPIC, self._payload(number), self._taken(number))
                    self.most_in_flight = max(self.most_in_flight, connection.in_flight)
                sent = number
            self._wake.clear()
            await self._wake.wait()

    def _taken(self, number: int) -> Callable[[int], None]:
        def on_ack(code: int) -> None:
            assert code in (0, 0x10)
            self.kept.pop(number, None)

        return on_ack


def account(items: Items, seen: Subscriber) -> tuple[int, int, int, int]:
    """(missing, tries that came more than once, wrong ones, items that came in further tries)."""
    tries: Counter[tuple[int, int]] = Counter()
    wrong = 0
    for message in seen.on("/data"):
        text, checksum = message.payload[:-8], message.payload[-8:]
        if checksum != b"%08x" % zlib.crc32(text):
            wrong += 1
        else:
            number, at, _filling = text.split()
            tries[int(number), int(at)] += 1
    came = {number for number, _try in tries}
    missing = set(range(1, items.made + 1)) - came
    return len(missing), tries.total() - len(tries), wrong, len(tries) - len(came)


async def arrived(items: Items, seen: Subscriber) -> None:
    """Waits until everything is at the subscriber, which may be far behind; looks now and then."""
    until_s = asyncio.get_running_loop().time() + 60
    while account(items, seen)[0] and asyncio.get_running_loop().time() < until_s:  # noqa: ASYNC110
        await asyncio.sleep(0.25)


async def farewell(_connection: Connection) -> None:
    """None."""


@asynccontextmanager
async def sending(items: Items, line: Proxy, tls: Tls | None = None) -> AsyncIterator[MqttSession]:
    """A session over the line, and a subscriber's eye on what unhandled errors there are."""
    unhandled: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: unhandled.append(context))
    broker = Broker(
        "127.0.0.1", line.port, "gw", keepalive_s=KEEPALIVE_S, window=WINDOW,
        backoff_max_s=0.5, tls=tls,
    )  # fmt: skip
    session = MqttSession([broker], lambda: Will("will", b"x"))
    async with serving(lambda: session.run(items.serve, farewell)):
        yield session
    assert not unhandled


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Runs it."""

    async def awaited() -> None:
        await scenario()

    asyncio.run(awaited())


async def delivered(items: Items, timeout_s: float = 30.0) -> float:
    """Waits until everything is acknowledged; the seconds that took."""
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    await until(lambda: not items.kept, "all acknowledged", timeout_s)
    return loop.time() - begun_s


def test_a_half_open_line(
    mosquitto: MakeBroker, faults: FaultTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 2: nothing passes and nobody is told. Known within 1.5 keepalives."""
    monkeypatch.setattr(session_module, "BACKOFF_FIRST_S", 0.1)
    broker = mosquitto(extra=UNBOUNDED)
    rounds = 3

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        items = Items()
        known_s: list[float] = []
        recovery_s = 0.0
        async with subscribed(broker.port, TOPIC) as seen, proxy(broker.port) as line:
            async with sending(items, line) as session:
                for round_ in range(rounds):
                    items.make(50)
                    await delivered(items)
                    items.make(30 if round_ else 0)  # on their way, or nothing at all
                    line.blackhole = True
                    begun_s = loop.time()
                    items.make(10 if round_ else 0)
                    await until(lambda: not session.connected, "it is known", 10)
                    known_s.append(loop.time() - begun_s)
                    items.make(20)
                    await asyncio.sleep(0.3)
                    line.blackhole = False
                    recovery_s = max(recovery_s, await delivered(items))
                assert session.tally.losses == rounds
            await arrived(items, seen)
            missing, doubled, wrong, repeats = account(items, seen)
            assert wrong == 0
            assert repeats <= WINDOW * session.tally.losses, "only what was in flight comes again"
        # Half a second for a machine that is busy; a broker's answer may have come just before.
        assert max(known_s) <= 1.5 * KEEPALIVE_S + 0.5
        faults.add(
            f"broker: half-open, known after {max(known_s):.1f} s of keepalive {KEEPALIVE_S} s"
            f" ({repeats} came again)", rounds, missing, doubled, 0, recovery_s,
        )  # fmt: skip

    run(scenario)


def resident_mb() -> float:
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.parametrize(
    ("name", "rate", "slice_bytes", "count"),
    [("1,000 bytes/s", 1000, 0, 1500), ("byte by byte", 0, 1, 300)],
)
def test_a_slow_line(
    mosquitto: MakeBroker, faults: FaultTable, name: str, rate: int, slice_bytes: int, count: int
) -> None:
    """Fault 3: what is in flight stays bounded, the line is not taken for dead."""
    broker = mosquitto(extra=UNBOUNDED)

    async def scenario() -> None:
        items = Items()
        async with subscribed(broker.port, TOPIC) as seen, proxy(broker.port) as line:
            async with sending(items, line) as session:
                items.make(100)
                await delivered(items)
                line.rate, line.slice_bytes = rate, slice_bytes
                items.make(count)
                before_mb, most_unwritten = resident_mb(), 0
                until_s = asyncio.get_running_loop().time() + 3 * KEEPALIVE_S
                while items.kept and asyncio.get_running_loop().time() < until_s:
                    await asyncio.sleep(0.05)
                    connection = session._connection
                    assert connection is not None, "slow is not gone"
                    most_unwritten = max(most_unwritten, connection.line.unwritten)
                assert resident_mb() - before_mb < 10
                assert most_unwritten < 200_000
                assert items.most_in_flight == WINDOW
                slow = 100 + count - len(items.kept)
                assert slow > 110, "it was slow, and not mute"
                line.rate = line.slice_bytes = 0
                recovery_s = await delivered(items, 60)
                assert (session.tally.connects, session.tally.losses) == (1, 0)
            await arrived(items, seen)
            missing, doubled, wrong, repeats = account(items, seen)
            assert (wrong, repeats) == (0, 0)
        faults.add(f"broker: slow, {name}", 1, missing, doubled, 0, recovery_s)

    run(scenario)


def test_resets_refusals_and_cuts(
    mosquitto: MakeBroker, faults: FaultTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 4: in the middle of packets, in bursts, and with nobody at home in between."""
    monkeypatch.setattr(session_module, "BACKOFF_FIRST_S", 0.02)
    broker = mosquitto(extra=UNBOUNDED)
    chance = random.Random(4)

    async def scenario() -> None:
        items = Items()
        async with subscribed(broker.port, TOPIC) as seen, proxy(broker.port) as line:
            async with sending(items, line) as session:
                for turn in range(40):
                    items.make(60)
                    kind = turn % 4
                    if kind == 0:
                        line.cut_after = chance.randrange(1, 12_000)
                    elif kind == 1:
                        await until(lambda: session.connected, "a connection")
                        line.cut()
                    elif kind == 2:
                        line.refuse = True
                        line.cut()
                    await asyncio.sleep(chance.uniform(0.02, 0.12))
                    line.refuse = False
                line.cut_after = 0
                recovery_s = await delivered(items)
                assert session.tally.connects > 10
            await arrived(items, seen)
            missing, doubled, wrong, repeats = account(items, seen)
            assert wrong == 0
            assert repeats <= WINDOW * session.tally.losses, "only what was in flight comes again"
            injected = line.reset + line.refused
        assert injected > 20
        faults.add(
            f"broker: reset, refused, cut within packets ({repeats} came again)", injected,
            missing, doubled, 0, recovery_s,
        )  # fmt: skip

    run(scenario)


def test_flipped_bits_with_tls(
    mosquitto: MakeBroker,
    faults: FaultTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fault 5: never a wrong value, because TLS notices every bit."""
    monkeypatch.setattr(session_module, "BACKOFF_FIRST_S", 0.02)
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server", "127.0.0.1")
    port = free_port()
    broker = mosquitto(
        extra=f"{UNBOUNDED}\nlistener {port} 127.0.0.1\nallow_anonymous true\n"
        f"certfile {certificate}\nkeyfile {key}\n"
    )

    async def scenario() -> None:
        items = Items()
        tls = Tls(authority.certificate)
        async with subscribed(broker.port, TOPIC) as seen, proxy(port, seed=5) as line:
            async with sending(items, line, tls) as session:
                items.make(200)
                await delivered(items)
                line.flip_share = 0.2
                while line.flipped < 60:
                    items.make(10)
                    await asyncio.sleep(0.05)
                line.flip_share = 0.0
                recovery_s = await delivered(items)
                assert session.tally.losses + session.tally.failures > 20
            await arrived(items, seen)
            missing, doubled, wrong, repeats = account(items, seen)
            assert wrong == 0
            assert repeats <= WINDOW * session.tally.losses, "only what was in flight comes again"
        faults.add(
            f"broker: bits flipped, TLS ({repeats} came again)", line.flipped, missing, doubled,
            0, recovery_s,
        )  # fmt: skip

    run(scenario)


def test_flipped_bits_without_tls_spoil_messages_and_nothing_else(
    mosquitto: MakeBroker,
    report_line: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Plain MQTT has no checksum: what docs/mqtt.md says. The session goes on, whatever comes."""
    monkeypatch.setattr(keepalive, "ACK_S", 1.0)  # an answer whose packet id is wrong
    monkeypatch.setattr(session_module, "BACKOFF_FIRST_S", 0.02)
    broker = mosquitto(extra=UNBOUNDED)

    async def scenario() -> None:
        items = Items()
        async with subscribed(broker.port, TOPIC) as seen, proxy(broker.port, seed=6) as line:
            async with sending(items, line) as session:
                line.flip_share = 0.3
                until_s = asyncio.get_running_loop().time() + 8
                while line.flipped < 20 or asyncio.get_running_loop().time() < until_s:
                    items.make(10)
                    await asyncio.sleep(0.02)
                line.flip_share = 0.0
                line.cut()
                harmed = items.made
                await delivered(items)
                items.make(200)
                await delivered(items)
                assert session.tally.connects > 3
            healthy = set(range(harmed + 1, items.made + 1))

            def came() -> set[int]:
                return {int(each.payload.split()[0]) for each in seen.on("/data")[-200:]}

            await until(lambda: came() == healthy, "all that was sent on the healthy line", 60)
            missing, _doubled, wrong, _repeats = account(items, seen)
        assert wrong > 0, "a test of what cannot be seen must make some of it"
        report_line(
            f"{line.flipped} flips on plain MQTT, {harmed} messages: {wrong} altered,"
            f" {missing} lost; with TLS none"
        )

    run(scenario)
