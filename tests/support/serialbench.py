"""The southbound half of a gateway over a real store, with devices on pseudo-terminals."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from clampgateway.clocksync import system_clocks
from clampgateway.committer import Committer, StoreThread
from clampgateway.descriptions import Descriptions
from clampgateway.devices import Devices
from clampgateway.feed import Feed
from clampgateway.link import Links
from clampgateway.sources.serial import SerialSource, Settings
from clampgateway.store import Store
from support.devicelink import DeviceModel
from support.ptydevice import PtyDevice


class SerialBench:
    """Everything from the ports of `pattern` to the feed."""

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


def on_serial_bench(
    folder: Path, pattern: str, work: Callable[[SerialBench], Awaitable[None]]
) -> None:
    """Run `work` beside source and committer; cleans up whatever it left."""

    async def run() -> None:
        bench = SerialBench(folder, pattern)
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

    with pytest.MonkeyPatch.context() as patch:
        # The same machine, less patient: a device says Hello every 0.2 s and repeats after 0.6 s.
        patch.setattr("clampdevice.link.HELLO_MS", 200)
        patch.setattr("clampdevice.link.RESEND_MS", 600)
        patch.setattr("clampgateway.sources.serial.SCAN_S", 0.1)
        asyncio.run(run())


async def until(condition: Callable[[], object], timeout_s: float = 5.0) -> float:
    """Let the loop run until `condition` holds; returns how long that took. A test may poll."""
    begun = time.monotonic()
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return time.monotonic() - begun
