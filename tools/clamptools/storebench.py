"""Measures the gateway's southbound half under many devices: acknowledgement, memory, writes.

Devices made of frames alone send a record a second each over sockets to a process of its own that
holds the gateway's real link sessions, committer and store. Truth is what the devices made and
what was acknowledged to them; at the end the store is read and compared.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import heapq
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from clampgateway.committer import INTERVAL_S
from clampgateway.store import Store
from clamptools.errors import UserError
from clamptools.framedevice import FrameDevice
from clamptools.gatewayhalf import STORE_FILE, GatewayHalf, run_until_term

EXAMPLE = """
clampwork bench store
clampwork bench store --devices 100 --seconds 20 --json
clampwork bench store --flood 1
"""
START_S = 30.0
DRAIN_S = 30.0
TURN_S = 0.02
FLOOD_TURN_S = 0.002
RESEND_S = 1.0
# A session holds its first records up to 2 s until the device's clock is known; not measured.
CLOCKS_S = 2.5
# Memory is compared from here on: by then every session is made and the feed's tail is full.
SETTLED_SHARE = 0.5


@dataclass
class Result:
    """What came out. Memory is that of the gateway's process; bytes are what it gave the disk."""

    devices: int
    seconds: float
    rate_hz: float
    flooding: int
    made: int
    acknowledged: int
    stored: int
    lost: int
    duplicated: int
    wrong: int
    ack_p50_s: float
    ack_p99_s: float
    ack_max_s: float
    flood_rate_hz: float
    memory_start_mb: float
    memory_end_mb: float
    memory_peak_mb: float
    cpu_share: float
    written_bytes_per_record: float
    file_bytes_per_record: float

    @property
    def good(self) -> bool:
        """Whether nothing is missing, double or wrong."""
        return not (self.lost or self.duplicated or self.wrong) and self.made == self.acknowledged


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--devices", type=int, default=1000, metavar="N")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S")
    parser.add_argument("--rate", type=float, default=1.0, metavar="HZ", help="records a device")
    parser.add_argument(
        "--flood", type=int, default=0, metavar="N", help="so many more send without a pause"
    )
    parser.add_argument(
        "--interval", type=float, default=INTERVAL_S, metavar="S", help="of commits (default 0.25)"
    )
    parser.add_argument("--folder", type=Path, help="where the store is made (default: a new one)")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: argparse.Namespace) -> int:
    if args.devices < 1 or args.seconds <= 0 or args.rate <= 0:
        raise UserError("devices, seconds and rate must be above 0")
    with tempfile.TemporaryDirectory(prefix="clampwork-bench-", dir=args.folder) as folder:
        result = measure(
            Path(folder), args.devices, args.seconds, args.rate, args.flood, args.interval
        )
    print(json.dumps(asdict(result)) if args.json else text_of(result))
    return 0 if result.good else 1


def text_of(result: Result) -> str:
    """The result as a person reads it."""
    lines = [
        (
            f"{result.devices} devices, {result.rate_hz:g} records/s each, {result.seconds:g} s:"
            f" {result.made} made, {result.acknowledged} acknowledged, {result.lost} lost,"
            f" {result.duplicated} duplicated, {result.wrong} wrong"
        ),
        (
            f"acknowledged after {1000 * result.ack_p50_s:.0f} ms (median),"
            f" {1000 * result.ack_p99_s:.0f} ms (p99), {1000 * result.ack_max_s:.0f} ms at most"
        ),
        (
            f"gateway: {result.memory_start_mb:.1f} MB, at the end {result.memory_end_mb:.1f} MB,"
            f" {100 * result.cpu_share:.0f} % of one core"
        ),
        (
            f"written {result.written_bytes_per_record:.0f} bytes a record,"
            f" in the file {result.file_bytes_per_record:.0f}"
        ),
    ]
    if result.flooding:
        lines.append(f"{result.flooding} flooding: {result.flood_rate_hz:.0f} records/s in all")
    return "\n".join(lines)


def measure(
    folder: Path,
    devices: int,
    seconds: float,
    rate_hz: float,
    flooding: int = 0,
    interval_s: float = INTERVAL_S,
) -> Result:
    """Run it in `folder`. Raises UserError if the gateway's half does not start."""
    path = folder / "socket"
    gateway = subprocess.Popen(
        [sys.executable, "-m", "clamptools.storebench", str(folder), str(interval_s)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        until_s = time.monotonic() + START_S
        while not path.exists():
            if gateway.poll() is not None or time.monotonic() > until_s:
                raise UserError("the gateway's half does not start")
            time.sleep(0.05)
        fleet = _Fleet(devices, rate_hz, flooding)
        probe = _Probe(gateway.pid)
        asyncio.run(fleet.run(path, seconds, probe))
        gateway.send_signal(signal.SIGTERM)
        gateway.wait(30)
    finally:
        if gateway.poll() is None:
            gateway.kill()
            gateway.wait()
    return fleet.result(folder, seconds, probe)


class _Probe:
    """Memory, processor time and disk writes of a process, from /proc."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        self.memory_mb: list[tuple[float, float]] = []
        self.begun_s = time.monotonic()
        self.cpu_s = self._cpu_s()
        self.written = self._written()
        self.peak_mb = 0.0

    def sample(self) -> None:
        fields = dict(
            line.split(":", 1) for line in (self._folder / "status").read_text().splitlines()
        )
        now = time.monotonic() - self.begun_s
        self.memory_mb.append((now, int(fields["VmRSS"].split()[0]) / 1024))
        self.peak_mb = int(fields["VmHWM"].split()[0]) / 1024

    def _cpu_s(self) -> float:
        fields = (self._folder / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _written(self) -> int:
        fields = dict(line.split(": ") for line in (self._folder / "io").read_text().splitlines())
        return int(fields["write_bytes"])

    def end(self) -> tuple[float, float, int]:
        """(seconds, processor seconds, bytes written) since the start."""
        self.sample()
        return (
            time.monotonic() - self.begun_s,
            self._cpu_s() - self.cpu_s,
            self._written() - self.written,
        )


class _Line(asyncio.Protocol):
    """A device's end of its line."""

    def __init__(self, device: FrameDevice) -> None:
        self.device = device
        self.transport: asyncio.Transport | None = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.device.receive(data)
        if self.device.has_answers:
            self.turn(64)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def turn(self, most: int) -> None:
        if self.transport is not None and self.transport.get_write_buffer_size() < 4096:
            data = self.device.take(most)
            if data:
                self.transport.write(data)


class _Fleet:
    """All devices, in one loop."""

    def __init__(self, devices: int, rate_hz: float, flooding: int) -> None:
        self._rate_hz = rate_hz
        self._count = devices
        now = time.monotonic
        self._lines = [_Line(FrameDevice(f"dev-{number:04}", now)) for number in range(devices)]
        self._floods = [_Line(FrameDevice(f"flood-{n}", now)) for n in range(flooding)]
        self._ended: tuple[float, float, int] = (1.0, 0.0, 0)
        self._flood_s = 1.0

    async def run(self, path: Path, seconds: float, probe: _Probe) -> None:
        loop = asyncio.get_running_loop()
        lines = [*self._lines, *self._floods]
        for line in lines:
            await loop.create_unix_connection(lambda line=line: line, str(path))
            line.turn(64)
        await self._until(lambda: all(line.device.ready for line in lines), START_S)
        await self._until(lambda: False, CLOCKS_S)
        chance = random.Random(1)
        begun_s = time.monotonic()
        due = [(begun_s + chance.random() / self._rate_hz, line) for line in range(self._count)]
        heapq.heapify(due)
        end_s = begun_s + seconds
        probe_due_s = resend_due_s = begun_s
        while (now := time.monotonic()) < end_s:
            while due and due[0][0] <= now:
                due_s, index = heapq.heappop(due)
                self._lines[index].device.make()
                self._lines[index].turn(64)
                if due_s + 1 / self._rate_hz < end_s:
                    heapq.heappush(due, (due_s + 1 / self._rate_hz, index))
            self._flood(end_s - now)
            if now >= resend_due_s:
                resend_due_s = now + RESEND_S
                for line in self._lines:
                    line.turn(64)
            if now >= probe_due_s:
                probe_due_s = now + 1.0
                probe.sample()
            await asyncio.sleep(TURN_S if not self._floods else FLOOD_TURN_S)
        self._flood_s = time.monotonic() - begun_s
        await self._until(lambda: not any(line.device.waiting for line in lines), DRAIN_S)
        self._ended = probe.end()
        if any(line.lost for line in lines):
            raise UserError("the gateway closed a line")
        for line in lines:
            assert line.transport is not None
            line.transport.abort()

    def _flood(self, left_s: float) -> None:
        for line in self._floods:
            while left_s > 0 and line.device.waiting < 4000:
                line.device.make()
            line.turn(500)

    async def _until(self, condition, timeout_s: float) -> None:  # noqa: ANN001 - () -> bool
        with contextlib.suppress(TimeoutError):  # the result says what is missing
            async with asyncio.timeout(timeout_s):
                while not condition():
                    for line in (*self._lines, *self._floods):
                        line.turn(64)
                    await asyncio.sleep(TURN_S)

    def result(self, folder: Path, seconds: float, probe: _Probe) -> Result:
        path = folder / STORE_FILE
        size = path.stat().st_size
        devices = [line.device for line in (*self._lines, *self._floods)]
        by_name = {device.device: device for device in devices}
        there: set[tuple[str, int]] = set()
        doubled = wrong = stored = at = 0
        store = Store(path)
        while items := store.read_after(at, 20_000):
            at = items[-1].id
            for _id, item in items:
                stored += 1
                doubled += (item.device, item.seq) in there
                there.add((item.device, item.seq))
                wrong += by_name[item.device].made.get(item.seq) != item.payload
        store.close()
        lost = sum((device.device, seq) not in there for device in devices for seq in device.acked)
        latencies = sorted(each for line in self._lines for each in line.device.latencies_s)
        elapsed_s, cpu_s, written = self._ended
        settled = [mb for at_s, mb in probe.memory_mb if at_s >= SETTLED_SHARE * elapsed_s]
        made = sum(len(device.made) for device in devices)
        flooded = sum(len(line.device.acked) for line in self._floods)
        return Result(
            devices=len(self._lines),
            seconds=seconds,
            rate_hz=self._rate_hz,
            flooding=len(self._floods),
            made=made,
            acknowledged=sum(len(device.acked) for device in devices),
            stored=stored,
            lost=lost,
            duplicated=doubled,
            wrong=wrong,
            ack_p50_s=_quantile(latencies, 0.5),
            ack_p99_s=_quantile(latencies, 0.99),
            ack_max_s=latencies[-1] if latencies else 0.0,
            flood_rate_hz=flooded / self._flood_s,
            memory_start_mb=settled[0],
            memory_end_mb=settled[-1],
            memory_peak_mb=probe.peak_mb,
            cpu_share=cpu_s / elapsed_s,
            written_bytes_per_record=written / max(1, stored),
            file_bytes_per_record=size / max(1, stored),
        )


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _gateway(folder: Path, interval_s: float) -> None:
    run_until_term(GatewayHalf(folder, interval_s), folder / "socket")


if __name__ == "__main__":
    _gateway(Path(sys.argv[1]), float(sys.argv[2]))
