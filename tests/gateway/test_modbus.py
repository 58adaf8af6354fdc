"""Modbus TCP: every request of a table, any bytes at all, and the limits of connections."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clampgateway.bridges.modbus.server import Limits, ModbusServer
from clampgateway.registers import schema
from clampgateway.registers.mbap import READ_SIZE, Answer, Shortcut, serve
from clampgateway.registers.pdu import pdu
from clampgateway.registers.unitimage import Style, UnitImage
from support.gateway_parts import serving, until

CASES = json.loads(Path(__file__).with_name("modbus_cases.json").read_text())["cases"]
PROBE = bytes.fromhex("abcd 0000 0006 01 03 0007 0001")
PROBE_ANSWER = bytes.fromhex("abcd 0000 0005 01 03 02 0007")
QUIET_S = 0.05


class Ramp(UnitImage):
    """Registers that hold their own address; input N is on if N is prime, coil 1 is on."""

    def __init__(self) -> None:
        words = struct.pack(f">{schema.DEVICE_SIZE}H", *range(schema.DEVICE_SIZE))
        super().__init__(words, words, 0.0, 0, Style(60.0, lambda: 0.0), 0b10, OBJECTS)

    def read_inputs(self, first: int, count: int) -> bytes | None:
        if first + count > schema.DEVICE_INPUTS_SIZE:
            return None
        bits = sum(is_prime(first + at) << at for at in range(count))
        return bits.to_bytes((count + 7) // 8, "little")


def is_prime(number: int) -> bool:
    return number > 1 and all(number % each for each in range(2, number))


OBJECTS = {
    0: "Clampwork", 1: "device", 2: "0.1.0", 3: "u" * 100, 5: "x" * 200, 6: "ä" * 60, 0x80: "abc"
}  # fmt: skip
RAMP = Ramp()
SHORTCUT = Shortcut(lambda: 0.0)
for _unit in (1, schema.GATEWAY_UNIT):
    SHORTCUT.show(_unit, (3, 4), RAMP)


def lookup(unit: int) -> Ramp | None:
    return RAMP if unit in (1, schema.GATEWAY_UNIT) else None


def write(unit: int, coils: bool, first: int, values: Sequence[int]) -> int:
    """Of unit 1, registers 120 and 121 take 0 and 1; coil 0 does; coil 1 is busy."""
    if unit != 1 or first < (0 if coils else 120) or first + len(values) > (2 if coils else 122):
        return 2
    if any(value > 1 for value in values):
        return 3
    return 6 if coils and first + len(values) > 1 else 0


def answer(unit: int, request: bytes) -> bytes:
    return pdu(lookup, unit, request)


def answer_writes(unit: int, request: bytes) -> bytes:
    return pdu(lookup, unit, request, write)


class Client:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, size: int) -> bytes:
        async with asyncio.timeout(5):
            return await self.reader.readexactly(size)

    async def served(self) -> bool:
        """Whether the connection is in step: a request has its answer, and nothing else comes."""
        await self.send(PROBE)
        return await self.answer(len(PROBE_ANSWER)) == PROBE_ANSWER

    async def quiet(self) -> bool:
        """Whether nothing comes, not even the end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUIET_S):
                await self.reader.read(1)
                return False
        return True

    async def closed(self) -> bool:
        """Whether the server ended the connection, with nothing more to read."""
        try:
            async with asyncio.timeout(5):
                return await self.reader.read(1) == b""
        except ConnectionResetError:
            return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class Served:
    """A running server, and clients that are closed with it."""

    def __init__(self, server: ModbusServer, port: int, stack: contextlib.AsyncExitStack) -> None:
        self.server = server
        self._port = port
        self._stack = stack

    async def client(self) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Client(reader, writer)
        self._stack.push_async_callback(client.close)
        return client


def with_server(
    scenario: Callable[[Served], Awaitable[None]],
    limits: Limits | None = None,
    answers: Answer = answer,
) -> None:
    """Runs a scenario against a server with at most 8 clients unless `limits` says otherwise."""

    async def run() -> None:
        made = ModbusServer(answers, SHORTCUT, limits or Limits(8, 60.0, 5.0))
        port = await made.start("127.0.0.1", 0)
        async with serving(made.run), contextlib.AsyncExitStack() as stack:
            await scenario(Served(made, port, stack))
        made.close()
        await asyncio.sleep(0)

    asyncio.run(run())


async def run_case(client: Client, case: dict[str, Any]) -> None:
    """One row: what comes back, and that the connection is in step afterwards, or closed."""
    for number, segment in enumerate(case["send"]):
        if number:
            await asyncio.sleep(0.002)  # a segment of its own
        await client.send(bytes.fromhex(segment))
    expect = case["expect"]
    answer = bytes.fromhex("" if expect == "silence" else expect.removesuffix("close"))
    assert await client.answer(len(answer)) == answer
    if expect.endswith("close"):
        assert await client.closed(), "the connection should be closed"
        return
    assert await client.quiet(), "more came than was asked for, or the end"
    half = _is_half(bytes.fromhex("".join(case["send"])))
    assert half or expect != "silence"
    if not half:
        assert await client.served(), "out of step"


def _is_half(stream: bytes) -> bool:
    """Whether what was sent ends within a request."""
    while len(stream) >= 6:
        size = 6 + int.from_bytes(stream[4:6], "big")
        if len(stream) < size:
            return True
        stream = stream[size:]
    return bool(stream)


def test_the_table_is_worth_its_name() -> None:
    assert len(CASES) >= 240
    names = [case["name"] for case in CASES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_request(case: dict[str, Any]) -> None:
    async def scenario(served: Served) -> None:
        await run_case(await served.client(), case)

    with_server(scenario, answers=answer_writes if case.get("writes") else answer)


@given(st.binary(max_size=600))
@settings(max_examples=300)
def test_no_bytes_break_the_server(stream: bytes) -> None:
    served = serve(answer, stream, 1000)
    assert 0 <= served.used <= len(stream)
    at = 0
    for _ in range(served.requests):
        size = 6 + int.from_bytes(stream[at + 4 : at + 6], "big")
        at += size
    assert at == served.used, "an answer for each request that is gone"
    rest = stream[served.used :]
    if not served.close and len(rest) >= 6:
        assert rest[2:4] == b"\0\0"
        assert len(rest) < 6 + int.from_bytes(rest[4:6], "big") <= 260


@given(st.integers(0, 255), st.binary(min_size=1, max_size=253))
@settings(max_examples=300)
def test_every_request_has_one_answer(unit: int, request: bytes) -> None:
    found = answer(unit, request)
    assert 2 <= len(found) <= 253
    if found[0] & 0x80:
        assert found[0] == request[0] | 0x80
        assert len(found) == 2
        assert found[1] in (1, 2, 3, 0x0B)
    elif request[0] in (3, 4):
        assert found[0] == request[0]
        assert len(found) == 2 + found[1]
        assert found[1] == 2 * int.from_bytes(request[3:5], "big")
    else:
        assert found[0] == request[0] in (1, 2, 8, 0x2B)


@given(
    st.tuples(
        st.integers(0, 0xFFFF),
        st.sampled_from([0, 1]),
        st.integers(4, 8),
        st.sampled_from([1, 2, 247]),
        st.sampled_from([1, 2, 3, 4, 5, 6, 8, 43]),
        st.integers(0, 0xFFFF) | st.integers(0, schema.DEVICE_SIZE + 3),
        st.integers(0, 130),
    )
)
@settings(max_examples=500)
def test_the_short_cut_gives_the_same_answer(fields: tuple[int, ...]) -> None:
    request = struct.pack(">HHHBBHH", *fields)
    assert len(request) == READ_SIZE
    short = SHORTCUT.answer(request)
    assert short == SHORTCUT.answer(request)
    served = serve(answer, request, 1)
    if short is None:
        plain = fields[1:3] == (0, 6) and fields[4] in (3, 4)
        assert not plain or served.exceptions, "a good read should be short"
    else:
        assert (served.reply, served.used, served.exceptions) == (short, READ_SIZE, 0)


def test_segments_of_any_size_make_no_difference() -> None:
    requests = b"".join(
        struct.pack(">HHHBBHH", n, 0, 6, 1 if n % 5 else 9, 3 + n % 2, n, n % 7) for n in range(60)
    )
    whole = serve(answer, requests, 1000)
    assert (whole.requests, whole.used, whole.close) == (60, len(requests), False)
    for size in (1, 2, 7, 13, 100):
        rest, replies = b"", b""
        for at in range(0, len(requests), size):
            rest += requests[at : at + size]
            part = serve(answer, rest, 1000)
            rest = rest[part.used :]
            replies += part.reply
        assert replies == whole.reply
        assert not rest


def test_a_client_too_many_is_closed_and_counted() -> None:
    async def scenario(served: Served) -> None:
        first, second = await served.client(), await served.client()
        assert await first.served()
        assert await second.served()
        third = await served.client()
        assert await third.closed()
        server = served.server
        assert (server.connections, server.counters.refused) == (2, 1)
        await first.close()
        await until(lambda: server.connections == 1, "the first is gone")
        fourth = await served.client()
        assert await fourth.served()

    with_server(scenario, Limits(2, 60.0, 5.0))


def test_silent_and_half_clients_are_closed_and_busy_ones_are_not() -> None:
    async def scenario(served: Served) -> None:
        idle, half, drip, busy = [await served.client() for _ in range(4)]
        await half.send(PROBE[:7])
        loop = asyncio.get_running_loop()
        start = loop.time()
        closed: dict[str, float] = {}

        async def watch(name: str, client: Client) -> None:
            assert await client.closed()
            closed[name] = loop.time() - start

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watch("idle", idle))
            tasks.create_task(watch("half", half))
            tasks.create_task(watch("drip", drip))
            asked = 0
            while len(closed) < 3:
                if asked < 11 and "drip" not in closed:
                    with contextlib.suppress(ConnectionError):
                        await drip.send(PROBE[asked : asked + 1])
                assert await busy.served()
                asked += 1
                await asyncio.sleep(0.15)
        # Not before their time; how long after it depends on what else this machine does.
        assert 0.8 <= closed["half"] < 5.0
        assert 0.8 <= closed["drip"] < 5.0, "a byte now and then is no complete request"
        assert 2.0 <= closed["idle"] < 7.0
        counters = served.server.counters
        assert (counters.half_closed, counters.idle_closed) == (2, 1)
        assert counters.requests == asked

    with_server(scenario, Limits(8, 2.0, 0.8))


def test_a_client_that_does_not_read_costs_bounded_memory() -> None:
    async def scenario(served: Served) -> None:
        deaf, other = await served.client(), await served.client()
        counters = served.server.counters
        request = struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 0, 125)
        deaf.writer.write(request * 40_000)  # 10 MB of answers
        await until(lambda: counters.requests, "the first answers")
        before = -1
        while before != counters.requests:
            before = counters.requests
            await asyncio.sleep(0.2)
        assert before < 40_000, "no more answers for who does not read them"
        assert await other.served()
        assert counters.requests == before + 1
        await deaf.answer(40_000 * 259)  # it reads after all: nothing is lost
        assert counters.requests == 40_001

    with_server(scenario)
