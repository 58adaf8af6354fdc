"""What comes to a Modbus port: a fuzzer's frames, requests that never end, and torn reads."""

import asyncio
import contextlib
import itertools
import json
import logging
import random
import resource
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from clampgateway.bridges.modbus import ModbusBridge, ModbusSettings
from support import readings
from support.faulttable import FaultTable
from support.gateway_parts import GatewayParts, running, serving, until
from support.readings import CURRENT, VIBRATION

FRAMES = 20_000
BUNDLE = 20
HALF_SENT = 1500
REQUEST_S = 1.0
SWEEP_S = 0.5
# What a busy machine may add to each: connecting 1,500 clients takes seconds of its own.
SLACK_S = 2.5
TORN_READS = 100_000
PIPELINED = 25
CHANGE_S = 0.001
GOOD_S = 1.0
CASES = json.loads(
    (Path(__file__).parents[1] / "gateway" / "modbus_cases.json").read_text(encoding="utf-8")
)["cases"]
PROBE = bytes.fromhex("abcd 0000 0006 01 03 0002 0002")
ANSWER = bytes.fromhex("abcd 0000 0007 01 03 04 449a 5000")  # 1234.5


@contextlib.asynccontextmanager
async def served(
    folder: Path, **settings: float
) -> AsyncIterator[tuple[GatewayParts, ModbusBridge]]:
    """The bridge with one device at unit 1, everything writable."""
    about = readings.description(channels=(CURRENT, VIBRATION))
    async with running(folder) as parts:
        bridge = ModbusBridge(
            ModbusSettings.model_validate(
                {"port": 0, "writable": ("identify", "reset_counters"), **settings}
            ),
            parts.context,
        )
        async with serving(bridge.run):
            await until(lambda: bridge.port)
            parts.describe(about, readings.identity())
            await until(lambda: bridge.stats()["units"] == 1)
            yield parts, bridge


class GoodClient:
    """Asks again 5 ms after each answer, and knows the longest it had to wait."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.worst_s = 0.0
        self.asked = 0

    async def run(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            while True:
                begun = time.monotonic()
                writer.write(PROBE)
                assert await reader.readexactly(len(ANSWER)) == ANSWER
                self.worst_s = max(self.worst_s, time.monotonic() - begun)
                self.asked += 1
                await asyncio.sleep(0.005)
        finally:
            writer.close()


def seeds() -> list[bytes]:
    """The PDUs of the table of requests, with their unit in front."""
    found = []
    for case in CASES:
        stream = bytes.fromhex("".join(case["send"]))
        size = int.from_bytes(stream[4:6], "big")
        if len(stream) == 6 + size and 2 <= size <= 254:
            found.append(stream[6:])
    return found


def mutated(chance: random.Random, body: bytes, other: bytes) -> bytes:
    """Unit and PDU with some damage, 2 to 254 bytes."""
    data = bytearray(body)
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(data))
        match chance.randrange(6):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
            case 2:
                del data[max(2, at) :]
            case 3:
                data += chance.randbytes(chance.randrange(1, 40))
            case 4:
                data[at:] = other[chance.randrange(len(other)) :]
            case _:
                data = bytearray(chance.randbytes(chance.randrange(2, 255)))
        data = data[:254]
        data += bytes(max(0, 2 - len(data)))
    return bytes(data)


def bundle(chance: random.Random, bodies: list[bytes]) -> bytes:
    """BUNDLE frames; the last has a damaged header too, which a connection may not outlive."""
    frames = []
    for number in range(BUNDLE):
        body = mutated(chance, chance.choice(bodies), chance.choice(bodies))
        frames.append(struct.pack(">HHH", number, 0, len(body)) + body)
    last = bytearray(frames[-1])
    at = chance.randrange(len(last))
    last[2 + at % 4] = chance.randrange(256)
    frames[-1] = bytes(last[: chance.randrange(1, len(last) + 1)])
    return b"".join(frames)


async def send(port: int, stream: bytes, chance: random.Random) -> int:
    """Sends in segments, reads to the end, checks each answer; returns how many there were."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    try:
        async with asyncio.timeout(20):
            at = 0
            while at < len(stream):
                size = chance.choice((1, 5, 12, 100, 1000))
                writer.write(stream[at : at + size])
                await writer.drain()
                at += size
            writer.write_eof()
            while data := await reader.read(65536):
                got += data
    except ConnectionError:
        pass  # it may close a connection whose last frame is none
    finally:
        writer.close()
    answers = 0
    while got:
        transaction, protocol, size = struct.unpack_from(">HHH", got)
        assert protocol == 0
        if answers < BUNDLE - 1:
            assert transaction == answers, "answers in the order of the requests"
        assert 3 <= size <= 254
        assert len(got) >= 6 + size, "half an answer"
        got = got[6 + size :]
        answers += 1
    return answers


def watched(
    scenario: Callable[[list[str]], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    """Runs a scenario; any exception in the loop or the log fails it."""

    async def run() -> None:
        troubles: list[str] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: troubles.append(str(context))
        )
        await scenario(troubles)
        assert not troubles

    with caplog.at_level(logging.WARNING, "clampgateway"):
        asyncio.run(run())
    assert not [record for record in caplog.records if record.exc_info]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_fuzzer_costs_nobody_anything(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, faults: FaultTable
) -> None:
    async def scenario(_troubles: list[str]) -> None:
        chance = random.Random(20261122)
        bodies = seeds()
        async with served(tmp_path) as (_parts, bridge):
            good = GoodClient(bridge.port)
            asking = asyncio.create_task(good.run())
            answers = 0
            for _ in range(FRAMES // BUNDLE):
                answers += await send(bridge.port, bundle(chance, bodies), chance)
            stats = bridge.stats()
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking
            assert stats["requests"] >= FRAMES * (BUNDLE - 1) // BUNDLE + good.asked - 1
            assert answers >= 0.9 * FRAMES
            assert stats["broken"] > 0
            assert stats["exceptions"] > FRAMES // 10
            assert good.asked > 50
            assert good.worst_s < GOOD_S, "a good client had to wait"
            await until(lambda: bridge.stats()["connections"] == 0, "all are gone")
        faults.add("Modbus frame of a fuzzer", FRAMES, 0, 0, recovery_s=good.worst_s)

    watched(scenario, caplog)


class HalfClient(asyncio.Protocol):
    """Sends a part of a request and no more."""

    def __init__(self, part: bytes) -> None:
        self._part = part
        self.sent_s = 0.0
        self.closed_s: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._part)
        self.sent_s = time.monotonic()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed_s = time.monotonic() - self.sent_s


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for both ends of all connections; skips where the system does not give it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * HALF_SENT + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"a process may have {hard} files open here, this needs {wanted}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_requests_that_never_end_are_closed_in_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, faults: FaultTable
) -> None:
    async def scenario(_troubles: list[str]) -> None:
        limit = HALF_SENT + 10
        async with served(
            tmp_path, max_connections=limit, max_per_client=limit, request_s=REQUEST_S
        ) as (_parts, bridge):
            good = GoodClient(bridge.port)
            asking = asyncio.create_task(good.run())
            loop = asyncio.get_running_loop()
            clients = [HalfClient(PROBE[: 1 + at % 11]) for at in range(HALF_SENT)]
            for client in clients:
                await loop.create_connection(
                    lambda client=client: client, "127.0.0.1", bridge.port
                )
            await until(
                lambda: all(client.closed_s is not None for client in clients), "all closed", 30
            )
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking
            longest = max(client.closed_s or 0.0 for client in clients)
            assert min(client.closed_s or 0.0 for client in clients) >= REQUEST_S - SWEEP_S
            assert longest <= REQUEST_S + SWEEP_S + SLACK_S
            assert bridge.stats()["half_closed"] == HALF_SENT
            assert good.worst_s < GOOD_S, "a good client had to wait"
            assert good.asked > 10
        faults.add("Modbus request never completed", HALF_SENT, 0, 0, recovery_s=longest)

    watched(scenario, caplog)


def test_no_read_is_ever_torn(tmp_path: Path, faults: FaultTable) -> None:
    """All numbers of two channels change together, a thousand times a second."""
    about = readings.description(channels=(CURRENT, VIBRATION))

    def value_of(seq: int) -> float:
        return (seq * 37 % 65000) / 100

    async def scenario() -> None:
        async with served(tmp_path) as (parts, bridge):

            async def change() -> None:
                for seq in itertools.count(1):
                    value = value_of(seq)
                    numbers = {
                        "current1": {"rms": value, "peak": value},
                        "vibration1": dict.fromkeys(("a", "v_x", "v_y", "v_z"), value),
                    }
                    utc_ms = parts.context.utc_ms()
                    taken = readings.reading(about, seq, numbers, utc_ms=utc_ms)
                    parts.devices.took_reading(taken, parts.context.mono())
                    changed.append(seq)
                    await asyncio.sleep(CHANGE_S)

            changed: list[int] = []
            async with serving(change):
                await until(lambda: changed)
                seen = await read_all(bridge.port)
            faults.add("Modbus read while values change", TORN_READS, 0, 0)
            assert len(seen) > len(changed) // 4 > 100, "the values hardly changed meanwhile"

    async def read_all(port: int) -> set[int]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        request = struct.pack(">HHHBBHH", 1, 0, 6, 1, 4, 250, 125)
        request += struct.pack(">HHHBBHH", 2, 0, 6, 1, 3, 500, 125)
        size = 9 + 250
        seen = set()
        for _ in range(TORN_READS // (2 * PIPELINED)):
            writer.write(request * PIPELINED)
            answers = await reader.readexactly(2 * PIPELINED * size)
            for at in range(0, len(answers), 2 * size):
                current = answers[at + 9 : at + size]
                vibration = answers[at + size + 9 : at + 2 * size]
                for words, places in ((current, (60, 68)), (vibration, (60, 68, 72, 76))):
                    seq = int.from_bytes(words[40:44], "big")
                    expected = struct.pack(">f", value_of(seq))
                    for place in places:
                        assert words[place : place + 4] == expected, "torn"
                    seen.add(seq)
        writer.close()
        return seen

    asyncio.run(scenario())
