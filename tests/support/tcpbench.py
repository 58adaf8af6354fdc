"""The southbound half of a gateway over a real store, with devices on real sockets of loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from clampgateway.sources.tcp import Settings, TcpSource
from support.devicelink import DeviceModel
from support.serialbench import SerialBench, until

STEP_S = 0.02
HOST = "127.0.0.1"


class TcpDevice:
    """A device with a socket of its own, in real time; `port` may be that of a proxy."""

    def __init__(self, device: DeviceModel, port: int) -> None:
        self.device = device
        self.port = port
        self.reads = self.runs = True
        self.connections = 0
        self._begun_s = time.monotonic() - device.now_us / 1e6
        self._sock: socket.socket | None = None
        self._left: list[socket.socket] = []
        self._rest = b""
        self._task: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Connect, and run; a connection that stands is left as it is, open and unused."""
        self.leave_open()
        sock = socket.create_connection((HOST, self.port), timeout=5)
        sock.setblocking(False)
        self._sock, self._rest = sock, b""
        self.connections += 1
        self._task = asyncio.create_task(self._run())

    def disconnect(self) -> None:
        """Close; the device goes on and keeps what it makes."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        for sock in (*self._left, *([self._sock] if self._sock is not None else [])):
            sock.close()
        self._left, self._sock = [], None

    def leave_open(self) -> None:
        """Forget the connection without a word, as a device does whose power goes."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._sock is not None:
            self._left.append(self._sock)
            self._sock = None

    @property
    def left_closed(self) -> bool:
        """Whether the gateway has closed all connections that were left open."""
        return all(closed_by_peer(sock) for sock in self._left)

    @property
    def connected(self) -> bool:
        return self._sock is not None

    async def _run(self) -> None:
        while self._sock is not None:
            if self.runs:
                self.turn()
            await asyncio.sleep(STEP_S)

    def turn(self) -> None:
        """What the firmware does in one turn of its loop."""
        self.device.now_us = int(1e6 * (time.monotonic() - self._begun_s))
        sock = self._sock
        if sock is None:
            return
        try:
            while self.reads:
                data = sock.recv(4096)
                if not data:
                    raise ConnectionResetError
                self.device.give(data)
        except BlockingIOError:
            pass
        except OSError:
            sock.close()
            self._sock = None
            return
        self.write(self._rest or self.device.take())

    def write(self, data: bytes) -> None:
        """Write as far as the socket takes it; the rest is kept for the next turn."""
        self._rest = data
        with contextlib.suppress(OSError):
            while self._rest and self._sock is not None:
                self._rest = self._rest[self._sock.send(self._rest) :]


class TcpBench(SerialBench):
    """Everything from the listener to the feed; `settings` also below what is valid."""

    def __init__(self, folder: Path, **settings: object) -> None:
        super().__init__(folder, "none")
        chosen = Settings(port=0).model_copy(update=settings)
        self.tcp = TcpSource(chosen, self.links, self.committer, self.clocks)
        self.devices_on_tcp: list[TcpDevice] = []

    @property
    def address(self) -> int:
        """The port."""
        return self.count("port")

    def count(self, name: str) -> int:
        """A counter of the source."""
        value = self.tcp.stats()[name]
        assert isinstance(value, int)
        return value

    def peers(self) -> list[dict[str, Any]]:
        peers = self.tcp.stats()["peers"]
        assert isinstance(peers, dict)
        return list(peers.values())

    async def join(self, device: DeviceModel, port: int = 0) -> TcpDevice:
        """A device that connects, here or to a proxy."""
        joined = TcpDevice(device, port or self.address)
        self.devices_on_tcp.append(joined)
        await joined.connect()
        return joined

    def opened(self) -> socket.socket:
        """A connection of nobody in particular."""
        sock = socket.create_connection((HOST, self.address), timeout=5)
        sock.setblocking(False)
        return sock

    def missing(self, *devices: DeviceModel) -> set[tuple[str, int, int]]:
        """What was made and is not in the store."""
        made = {(device.device, *key) for device in devices for key in device.made}
        return made - self.kept()


def closed_by_peer(sock: socket.socket) -> bool:
    """Whether the gateway has ended this connection; reads what there is."""
    try:
        while sock.recv(65536):
            continue
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def on_tcp_bench(
    folder: Path, work: Callable[[TcpBench], Awaitable[None]], **settings: object
) -> None:
    """Run `work` beside source and committer; cleans up whatever it left."""

    async def run() -> None:
        bench = TcpBench(folder, **settings)
        tasks = [
            asyncio.create_task(bench.committer.run()),
            asyncio.create_task(bench.tcp.run()),
        ]
        try:
            async with asyncio.timeout(30):
                await until(lambda: bench.address)
                await work(bench)
        finally:
            for device in bench.devices_on_tcp:
                device.disconnect()
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            await bench.thread.close()
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends

    with pytest.MonkeyPatch.context() as patch:
        # The same machine, less patient: a device says Hello every 0.2 s and repeats after 0.6 s.
        patch.setattr("clampdevice.link.HELLO_MS", 200)
        patch.setattr("clampdevice.link.RESEND_MS", 600)
        patch.setattr("clampgateway.sources.tcp.SWEEP_S", 0.05)
        patch.setattr("clampgateway.sources.tcp.ACCEPT_RETRY_S", 0.05)
        asyncio.run(run())
