"""The devices of the benchmark: frames alone, over TCP and ptys, at a steady rate.

Owns pacing, the lines, and when each record was given to its line, against which the subscriber's
times are held. A device is `framedevice`; here its records are built cheaper, because what the
load costs is missing to what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import struct
import time
import tty
from collections import deque
from collections.abc import Callable
from pathlib import Path

from clampgateway.model import RECORD
from clamptools.framedevice import LAYOUT, VALUES, FrameDevice
from clampwire import framing

HOST = "127.0.0.1"
TURN_S = 0.01
# A session holds its first records up to 2 s until the device's clock is known.
CLOCKS_S = 2.5
READY_S = 30.0
TAKE_MOST = 256
_HEAD = struct.Struct("<BIIIBBB")
_VALUES = struct.Struct(f"<{VALUES}H")
_RAMP = [
    _VALUES.pack(*[first + index & 0x7FFF for index in range(VALUES)]) for first in range(1024)
]


class BenchDevice(FrameDevice):
    """A device that writes down when it made a record.

    On a line that stands it sends nothing twice: of a gateway that is late a device would send
    again what waits, and what that costs is not what is measured.
    """

    def __init__(self, device: str) -> None:
        super().__init__(device, time.monotonic)
        self.made_s: list[float] = []
        self._fresh: deque[int] = deque()

    def make(self) -> int:
        seq = self.next_seq
        self.next_seq = seq + 1
        end_ms = self._tick_ms()
        head = _HEAD.pack(RECORD, self.boot, seq, end_ms & 0xFFFFFFFF, end_ms >> 32, 5, LAYOUT)
        values = _RAMP[seq & 1023]
        self.made[seq] = head + b"\0" + bytes([len(values)]) + values
        self._unacked[seq] = 0.0
        self.made_s.append(time.monotonic())
        self._fresh.append(seq)
        return seq

    def _took_welcome(self, message) -> None:  # noqa: ANN001 - a namedtuple from the table
        super()._took_welcome(message)
        self._fresh = deque(self._unacked)

    def _records(self, now_s: float, most: int) -> bytes:
        out = bytearray()
        for _ in range(min(most, len(self._fresh))):
            seq = self._fresh.popleft()
            self._first_sent.setdefault(seq, now_s)
            out += framing.frame(self.made[seq])
        return bytes(out)


class _Line(asyncio.Protocol):
    """A device at the end of a TCP connection."""

    def __init__(self, device: BenchDevice) -> None:
        self.device = device
        self._transport: asyncio.Transport | None = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.device.receive(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def turn(self) -> None:
        if self._transport is not None and self._transport.get_write_buffer_size() < 65536:
            data = self.device.take(TAKE_MOST)
            if data:
                self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class _Pty:
    """A device at the end of a pty, whose other end is the gateway's serial port."""

    def __init__(self, device: BenchDevice, link: Path) -> None:
        self.device = device
        self.lost = False
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._pending = b""
        link.symlink_to(os.ttyname(self._slave))
        asyncio.get_running_loop().add_reader(self._master, self._readable)

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.device.receive(os.read(self._master, 65536))

    def turn(self) -> None:
        data = self._pending or self.device.take(TAKE_MOST)
        with contextlib.suppress(BlockingIOError):
            while data:
                data = data[os.write(self._master, data) :]
        self._pending = data

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        os.close(self._slave)


class Fleet:
    """All devices in one loop. `rate` is records/s of all together; set it at any time."""

    def __init__(self) -> None:
        self.lines: list[_Line | _Pty] = []
        self.rate = 0.0
        self._due = 0.0
        self._next = 0

    @property
    def devices(self) -> list[BenchDevice]:
        return [line.device for line in self.lines]

    async def connect(self, tcp: int, port: int, ptys: int, folder: Path) -> None:
        """Connect all, and wait until the gateway knows their clocks.

        Raises:
            TimeoutError: It does not welcome them.
        """
        loop = asyncio.get_running_loop()
        for number in range(tcp):
            line = _Line(BenchDevice(f"tcp-{number:03}"))
            await loop.create_connection(lambda line=line: line, HOST, port)
            self.lines.append(line)
        for number in range(ptys):
            device = BenchDevice(f"pty-{number:03}")
            self.lines.append(_Pty(device, folder / device.device))
        await self.until(lambda: all(device.ready for device in self.devices), READY_S)
        await self.run(CLOCKS_S)

    async def run(self, seconds: float) -> None:
        """Make records at the rate for so long."""
        end_s = time.monotonic() + seconds
        await self.until(lambda: time.monotonic() >= end_s, math.inf)

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Go on until the condition is true. Raises TimeoutError."""
        last_s = time.monotonic()
        end_s = last_s + timeout_s
        while not condition():
            now_s = time.monotonic()
            if now_s > end_s:
                raise TimeoutError(
                    f"{self.acknowledged} of {self.made} records are acknowledged, and"
                    f" {sum(device.ready for device in self.devices)} of {len(self.lines)} devices"
                    f" welcome, after {timeout_s:g} s"
                )
            self._due += self.rate * (now_s - last_s)
            last_s = now_s
            self._make(int(self._due))
            self._due -= int(self._due)
            for line in self.lines:
                line.turn()
            await asyncio.sleep(TURN_S)

    def _make(self, count: int) -> None:
        devices = self.devices
        for _ in range(count):
            devices[self._next % len(devices)].make()
            self._next += 1

    @property
    def made(self) -> int:
        return sum(device.next_seq for device in self.devices)

    @property
    def acknowledged(self) -> int:
        return sum(len(device.acked) for device in self.devices)

    @property
    def lost_lines(self) -> int:
        return sum(line.lost for line in self.lines)

    def latencies_s(self) -> list[float]:
        """From making to acknowledgement, of all so far."""
        return [each for device in self.devices for each in device.latencies_s]

    def made_s(self, device: str, seq: int) -> float:
        """When a record was made."""
        return self._by_name[device].made_s[seq]

    @property
    def _by_name(self) -> dict[str, BenchDevice]:
        return {device.device: device for device in self.devices}

    def close(self) -> None:
        for line in self.lines:
            line.close()


def frame_bytes() -> int:
    """Size of a record's frame on the wire."""
    device = BenchDevice("size")
    return len(framing.frame(device.made[device.make()]))
