"""Bounds of a link: floods, devices that never read, commits that stall, chunks of any size."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clampgateway.store import file
from clampgateway.stream import INFLIGHT_MAX, DeviceStream
from clampwire import framing
from support.devicelink import DeviceModel
from support.serialbench import SerialBench, on_serial_bench, until

FLOOD_S = 3.0


def test_a_flooding_device_does_not_delay_another(
    tmp_path: Path, report_line: Callable[[str], None]
) -> None:
    async def work(bench: SerialBench) -> None:
        flooder, good = DeviceModel("flooder", spool_items=4096), DeviceModel("good")
        flood = bench.plug("tty-1", flooder)
        bench.plug("tty-2", good)
        await until(lambda: flooder.link.ready and good.link.ready)
        stop_s = time.monotonic() + FLOOD_S
        seq = 1_000_000
        worst_s = most = 0.0
        due_s = 0.0
        waiting_since = 0.0
        while time.monotonic() < stop_s:
            if not flood._rest:
                frames = []
                for _ in range(200):
                    seq += 1
                    payload = bytearray(bytes(flood_payload(flooder)))
                    payload[5:9] = seq.to_bytes(4, "little")
                    frames.append(framed(bytes(payload)))
                flood._rest = b"".join(frames)
            flood.write(flood._rest)
            now_s = time.monotonic()
            if good.unacknowledged:
                worst_s = max(worst_s, now_s - waiting_since)
            elif now_s >= due_s:
                due_s = now_s + 0.1
                good.record(1.0)
                waiting_since = now_s
            most = max(most, *(session.inflight for session in bench.links))
            await asyncio.sleep(0)
        # Starved it would wait for the whole flood; the bound leaves room for a busy computer.
        assert worst_s < 2.5
        assert most < INFLIGHT_MAX + 1000  # one turn above the mark
        taken = sum(
            session.stats()["items"] for session in bench.links if session.device == "flooder"
        )
        assert taken > 1000
        report_line(
            f"serial: worst acknowledgement of a good device {worst_s:.2f} s beside a flood of"
            f" {taken / FLOOD_S:.0f} items/s"
        )

    on_serial_bench(tmp_path, "tty-*", work)


def flood_payload(device: DeviceModel) -> bytes:
    if not device.made:
        device.record(1.0)
    return next(iter(device.made.values()))


def framed(payload: bytes) -> bytes:
    return framing.frame(payload)


def test_a_device_that_never_reads_blocks_nobody(tmp_path: Path) -> None:
    async def work(bench: SerialBench) -> None:
        deaf = bench.plug("tty-1", DeviceModel("deaf"))
        bench.plug("tty-2", DeviceModel("good"))
        await until(lambda: bench.online("deaf", "good"))
        deaf.reads = False
        session = next(link for link in bench.links if link.device == "deaf")
        # Answers to it fill the terminal, then our buffer, then nothing more is written.
        hello = bytes(
            deaf.device._codec.encode("Hello", 1, 0, 0, "deaf", 1, 9, *"nbfr", 0, 0, 0, 1)
        )
        while not bench.port("tty-1")["write_stalls"]:
            deaf.write(framed(hello))
            await asyncio.sleep(0)
        assert session.stats()["bytes_out"] < 200_000
        for _ in range(5):
            bench.plugged[1].device.record(1.0)
        assert await until(lambda: bench.plugged[1].device.unacknowledged == 0) < 1
        deaf.reads = True
        deaf.device.record(3.0)
        await until(lambda: ("deaf", 1, 0) in bench.kept())

    on_serial_bench(tmp_path, "tty-*", work)


def test_reading_pauses_while_nothing_can_be_committed_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "BUSY_TIMEOUT_S", 0.02)
    monkeypatch.setattr("clampgateway.stream.INFLIGHT_MAX", 20)
    monkeypatch.setattr("clampgateway.link.session.OFFLINE_US", 600_000)

    async def work(bench: SerialBench) -> None:
        device = DeviceModel()
        bench.plug("tty-lathe", device)
        await until(lambda: bench.online("lathe"))
        other = sqlite3.connect(bench.store.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for _ in range(40):
            device.record(1.0)
            device.link.made(device.spool.next_seq - 1)  # and once more
            await asyncio.sleep(0.02)
        await until(lambda: bench.port("tty-lathe")["pauses"] > 0)
        await asyncio.sleep(0.9)
        assert bench.committer.pending < 150
        assert bench.online("lathe")  # we did not listen: its silence is our doing
        other.execute("ROLLBACK")
        other.close()
        await until(lambda: device.unacknowledged == 0, 10)
        assert {("lathe", *key) for key in device.made} == bench.kept()

    on_serial_bench(tmp_path, "tty-lathe", work)


def test_a_large_chunk_is_taken_in_turns(tmp_path: Path) -> None:
    """Over a socket, whose transport may bring far more at once than a terminal."""

    async def work(bench: SerialBench) -> None:
        near, far = await connected(bench)
        device = DeviceModel("socket")
        to_device = b""
        for _ in range(20):
            device.now_us += 20_000
            far.write(device.take())
            await asyncio.sleep(0.01)
            to_device = await received(far)
            device.give(to_device)
        await until(lambda: bench.online("socket"))
        device.record(1.0)
        payload = bytearray(next(iter(device.made.values())))
        frames = []
        for seq in range(5000):
            payload[5:9] = seq.to_bytes(4, "little")
            frames.append(framed(bytes(payload)))
        turns = 0
        near.data_received(b"".join(frames))  # 150 KB in one call
        session = next(iter(bench.links))
        while session.stats()["items"] < 5000:
            assert session.inflight < INFLIGHT_MAX + 1000
            turns += 1
            await asyncio.sleep(0)
        assert turns > 5
        await until(lambda: len(bench.kept()) == 5000)
        far.close()
        await until(bench.online)

    on_serial_bench(tmp_path, "none", work)


class Far(asyncio.Protocol):
    """The device's end of a socket."""

    def __init__(self) -> None:
        self.heard = b""
        self.transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def write(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def close(self) -> None:
        assert self.transport is not None
        self.transport.close()


async def received(far: Far) -> bytes:
    heard, far.heard = far.heard, b""
    return heard


async def connected(bench: SerialBench) -> tuple[DeviceStream, Far]:
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    stream = DeviceStream(bench.links, bench.committer, bench.clocks, "socket", lambda _e: None)
    await loop.create_connection(lambda: stream, sock=ours)
    _transport, far = await loop.create_connection(Far, sock=theirs)
    return stream, far


def test_the_end_of_a_connection_is_told_without_memory_for_what_comes_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(bench: SerialBench) -> None:
        stream, far = await connected(bench)
        lost: list[Exception | None] = []
        stream._on_lost = lost.append
        close = bench.links.close
        closed: list[object] = []

        def without_memory(session: object) -> None:
            closed.append(session)
            raise MemoryError

        monkeypatch.setattr(bench.links, "close", without_memory)
        monkeypatch.setattr(asyncio.get_running_loop(), "call_exception_handler", lambda _c: None)
        far.close()
        await until(lambda: bool(lost))
        assert closed == [stream.session]
        close(closed[0])  # type: ignore[arg-type]

    on_serial_bench(tmp_path, "none", work)
