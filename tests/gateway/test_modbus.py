"""Modbus TCP: every request of a table, any bytes at all, and the limits of connections."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clampgateway.bridges.modbus.server import Limits, ModbusServer
from clampgateway.registers import schema
from clampgateway.registers.pdu import pdu, serve
from support.gateway_parts import serving, until

CASES = json.loads(Path(__file__).with_name("modbus_cases.json").read_text())["cases"]
PROBE = bytes.fromhex("abcd 0000 0006 01 03 0007 0001")
PROBE_ANSWER = bytes.fromhex("abcd 0000 0005 01 03 02 0007")
QUIET_S = 0.05


class Ramp:
    """Registers that hold their own address."""

    def read(self, first: int, count: int) -> bytes | None:
        if first + count > schema.DEVICE_SIZE:
            return None
        return struct.pack(f">{count}H", *range(first, first + count))


def lookup(unit: int) -> Ramp | None:
    return Ramp() if unit in (1, schema.GATEWAY_UNIT) else None


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
    scenario: Callable[[Served], Awaitable[None]], limits: Limits | None = None
) -> None:
    """Runs a scenario against a server with at most 8 clients unless `limits` says otherwise."""

    async def run() -> None:
        made = ModbusServer(lookup, limits or Limits(8, 60.0, 5.0))
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
    assert len(CASES) >= 60
    names = [case["name"] for case in CASES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_request(case: dict[str, Any]) -> None:
    async def scenario(served: Served) -> None:
        await run_case(await served.client(), case)

    with_server(scenario)


@given(st.binary(max_size=600))
@settings(max_examples=300)
def test_no_bytes_break_the_server(stream: bytes) -> None:
    served = serve(lookup, stream, 1000)
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
    answer = pdu(lookup, unit, request)
    if answer[0] & 0x80:
        assert answer[0] == request[0] | 0x80
        assert len(answer) == 2
        assert answer[1] in (1, 2, 3, 0x0B)
    else:
        assert answer[0] == request[0] in (3, 4)
        assert len(answer) == 2 + answer[1]
        assert answer[1] == 2 * int.from_bytes(request[3:5], "big")


def test_segments_of_any_size_make_no_difference() -> None:
    requests = b"".join(
        struct.pack(">HHHBBHH", n, 0, 6, 1 if n % 5 else 9, 3 + n % 2, n, n % 7) for n in range(60)
    )
    whole = serve(lookup, requests, 1000)
    assert (whole.requests, whole.used, whole.close) == (60, len(requests), False)
    for size in (1, 2, 7, 13, 100):
        rest, replies = b"", b""
        for at in range(0, len(requests), size):
            rest += requests[at : at + size]
            part = serve(lookup, rest, 1000)
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
            for number in range(24):  # 3.6 s
                if number < 11 and "drip" not in closed:
                    with contextlib.suppress(ConnectionError):
                        await drip.send(PROBE[number : number + 1])
                assert await busy.served()
                await asyncio.sleep(0.15)
        assert 0.8 <= closed["half"] < 2.0
        assert 0.8 <= closed["drip"] < 2.0, "a byte now and then is no complete request"
        assert 2.0 <= closed["idle"] < 3.5
        counters = served.server.counters
        assert (counters.half_closed, counters.idle_closed) == (2, 1)
        assert counters.requests == 24

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
