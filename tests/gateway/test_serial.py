"""The serial source on pseudo-terminals: ports that come, go, are shared, flood and stay deaf."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from clampgateway.clocksync import system_clocks
from clampgateway.committer import Committer, StoreThread
from clampgateway.config import Wrong
from clampgateway.descriptions import Descriptions
from clampgateway.devices import Devices
from clampgateway.feed import Feed
from clampgateway.link import Links
from clampgateway.sources import SOURCES
from clampgateway.sources.serial import SerialSource, Settings
from clampgateway.store import Store, file
from clampgateway.stream import INFLIGHT_MAX, DeviceStream
from clampwire import framing
from support.devicelink import DeviceModel
from support.ptydevice import PtyDevice


class Bench:
    """The southbound half of a gateway over a real store, with serial ports of `pattern`."""

    def __init__(self, folder: Path, pattern: str) -> None:
        self.folder = folder
        clocks = system_clocks()
        self.clocks = clocks
        self.store = Store(folder / "items.db")
        self.thread = StoreThread(self.store)
        self.devices = Devices()
        descriptions = Descriptions()
        self.feed = Feed(self.devices, descriptions, self.thread.read_after, time.monotonic, {}, 0)
        self.committer = Committer(self.thread, self.feed, 0.05)
        self.links = Links(self.devices, descriptions, {}, "gw", clocks)
        settings = Settings(port=str(folder / pattern))
        self.source = SerialSource(settings, self.links, self.committer, clocks)
        self.plugged: list[PtyDevice] = []

    def plug(self, name: str, device: DeviceModel) -> PtyDevice:
        port = PtyDevice(self.folder / name, device)
        port.plug()
        self.plugged.append(port)
        return port

    def port(self, name: str) -> dict:
        ports = self.source.stats()["ports"]
        assert isinstance(ports, dict)
        return ports.get(str(self.folder / name), {})

    def online(self, *names: str) -> bool:
        return [entry.key for entry in self.devices if entry.online] == sorted(names)

    def kept(self) -> set[tuple[str, int, int]]:
        """What the file holds, by a connection of our own: the store belongs to its thread."""
        query = "SELECT key, boot, seq FROM items JOIN devices ON devices.id = device"
        with contextlib.closing(sqlite3.connect(self.store.path)) as db:
            return set(db.execute(query))


def on_bench(folder: Path, pattern: str, work: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        bench = Bench(folder, pattern)
        tasks = [
            asyncio.create_task(bench.committer.run()),
            asyncio.create_task(bench.source.run()),
        ]
        try:
            async with asyncio.timeout(30):
                await work(bench)
        finally:
            for port in bench.plugged:
                port.unplug()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await bench.thread.close()

    asyncio.run(run())


async def until(condition: Callable[[], object], timeout_s: float = 5.0) -> float:
    """Let the loop run until `condition` holds; returns how long that took. A test may poll."""
    begun = time.monotonic()
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return time.monotonic() - begun


async def talking(bench: Bench, device: DeviceModel) -> float:
    """Until a device in the middle of a session was heard, asked for its Hello, and welcomed."""
    begun = time.monotonic()
    while not bench.online(device.device):
        device.record(3.0)
        await asyncio.sleep(0.1)
    return time.monotonic() - begun


def test_unplugged_and_plugged_into_another_terminal_nothing_is_lost(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        await until(lambda: "not plugged in" in bench.port("tty-lathe").get("error", ""))
        device = DeviceModel()
        port = bench.plug("tty-lathe", device)
        await until(lambda: bench.online("lathe"))
        for _ in range(2):
            for _ in range(5):
                device.record(1.0)
                await asyncio.sleep(0.02)
            port.unplug()
            assert await until(bench.online) < 0.5
            for _ in range(10):
                device.record(2.0)
            await asyncio.sleep(0.3)
            port.plug()
            assert await talking(bench, device) < 2
        await until(lambda: device.unacknowledged == 0)
        assert {("lathe", *key) for key in device.made} == bench.kept()
        assert bench.store.conflicts == 0
        stats = bench.port("tty-lathe")
        assert (stats["state"], stats["opens"], stats["disconnects"]) == ("open", 3, 2)
        assert stats["open_failures"] > 0
        assert (stats["device"], stats["error"]) == ("lathe", "")

    on_bench(tmp_path, "tty-lathe", work)


def test_ports_of_a_pattern_come_and_go(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        lathe = bench.plug("tty-1", DeviceModel("lathe"))
        mill = bench.plug("tty-2", DeviceModel("mill"))
        (tmp_path / "tty-1b").symlink_to(lathe.path.resolve())  # a second name of it
        await until(lambda: bench.online("lathe", "mill"))
        assert len(bench.source.stats()["ports"]) == 2  # pyright: ignore[reportArgumentType]
        (tmp_path / "tty-1b").unlink()
        lathe.unplug()
        await until(lambda: bench.online("mill"))
        await until(lambda: not bench.port("tty-1"))
        assert bench.source.stats()["gone"] == 1
        lathe.path = tmp_path / "tty-9"
        lathe.plug()
        await until(lambda: bench.online("lathe", "mill"))
        mill.unplug()
        await until(lambda: bench.online("lathe"))

    on_bench(tmp_path, "tty-*", work)


def test_a_port_is_exclusive_until_it_is_released(tmp_path: Path) -> None:
    def lock(path: Path) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    async def work(bench: Bench) -> None:
        port = bench.plug("tty-lathe", DeviceModel())
        await until(lambda: bench.online("lathe"))
        with pytest.raises(BlockingIOError):
            lock(port.path)
        assert await bench.source.release(0.8, str(port.path.resolve())) == [str(port.path)]
        mine = lock(port.path)  # at once: release waits for the closing
        await until(bench.online, 0.5)
        assert bench.port("tty-lathe")["state"] == "released"
        await until(lambda: "another program uses it" in bench.port("tty-lathe")["error"])
        os.close(mine)
        await talking(bench, port.device)
        assert await bench.source.release(30) == [str(port.path)]
        await until(bench.online)
        await bench.source.release(0)  # take it back
        assert await talking(bench, port.device) < 2
        assert bench.port("tty-lathe")["releases"] == 2
        assert await bench.source.release(1, "/dev/other") == []
        with pytest.raises(ValueError, match="must be 0 to 3600"):
            await bench.source.release(-1)

    on_bench(tmp_path, "tty-lathe", work)


def test_what_is_no_serial_port_is_said_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "tty-file").write_text("no port")

    async def work(bench: Bench) -> None:
        await until(lambda: bench.port("tty-file").get("open_failures", 0) >= 3)
        assert bench.port("tty-file")["error"]
        assert bench.port("tty-file")["retry_s"] > 0.2
        (tmp_path / "tty-file").unlink()
        bench.plug("tty-file", DeviceModel())
        assert await until(lambda: bench.online("lathe")) < 3

    on_bench(tmp_path, "tty-file", work)


def test_a_port_must_be_a_path() -> None:
    with pytest.raises(ValueError, match="must be an absolute path"):
        Settings(port="socket://host:1")
    assert issubclass(Wrong, ValueError)
    assert SOURCES["serial"] == f"{SerialSource.__module__}:{SerialSource.__name__}"


# --- bounds --------------------------------------------------------------------------------------


def test_a_flooding_device_does_not_delay_another(
    tmp_path: Path, report_line: Callable[[str], None]
) -> None:
    async def work(bench: Bench) -> None:
        flooder, good = DeviceModel("flooder", spool_items=4096), DeviceModel("good")
        flood = bench.plug("tty-1", flooder)
        bench.plug("tty-2", good)
        await until(lambda: flooder.link.ready and good.link.ready)
        stop_s = time.monotonic() + 1.2
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
        assert worst_s < 1.0
        assert most < INFLIGHT_MAX + 1000  # one turn above the mark
        taken = bench.devices.at("flooder").link["items"]
        assert taken > 1000
        report_line(
            f"serial: worst acknowledgement of a good device {worst_s:.2f} s beside a flood of"
            f" {taken / 1.2:.0f} items/s"
        )

    on_bench(tmp_path, "tty-*", work)


def flood_payload(device: DeviceModel) -> bytes:
    if not device.made:
        device.record(1.0)
    return next(iter(device.made.values()))


def framed(payload: bytes) -> bytes:
    return framing.frame(payload)


def test_a_device_that_never_reads_blocks_nobody(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
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

    on_bench(tmp_path, "tty-*", work)


def test_reading_pauses_while_nothing_can_be_committed_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "BUSY_TIMEOUT_S", 0.02)
    monkeypatch.setattr("clampgateway.stream.INFLIGHT_MAX", 20)
    monkeypatch.setattr("clampgateway.link.session.OFFLINE_US", 600_000)

    async def work(bench: Bench) -> None:
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

    on_bench(tmp_path, "tty-lathe", work)


def test_a_large_chunk_is_taken_in_turns(tmp_path: Path) -> None:
    """Over a socket, whose transport may bring far more at once than a terminal."""

    async def work(bench: Bench) -> None:
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

    on_bench(tmp_path, "none", work)


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


async def connected(bench: Bench) -> tuple[DeviceStream, Far]:
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    stream = DeviceStream(bench.links, bench.committer, bench.clocks, "socket", lambda _e: None)
    await loop.create_connection(lambda: stream, sock=ours)
    _transport, far = await loop.create_connection(Far, sock=theirs)
    return stream, far
