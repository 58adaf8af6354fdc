"""The link over lines that spoil, ports that move, twins, floods and a gateway that stands still.

The device is the firmware's own link, or frames alone where numbers count. Truth is what it made
and what was acknowledged to it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from clamptools.demo.noise import DELAY, DOUBLE, FLIP, INVENT, KINDS, LOSE, SWAP, ChaosLine
from clamptools.framedevice import FrameDevice
from clamptools.storebench import measure
from support.devicelink import DeviceModel
from support.faultserver import Life, account, fault_server, talk
from support.faulttable import FaultTable
from support.linkbench import STEP_US, LinkBench, running
from support.ptydevice import PtyDevice
from support.serialbench import SerialBench, on_serial_bench, until

HEALED_S = 60.0


def step(bench: LinkBench, up: ChaosLine, down: ChaosLine) -> None:
    """50 ms of a spoiled line."""
    bench.now_us += STEP_US
    bench.device.now_us += STEP_US
    bench.device.give(down.carry(bench._to_device, bench.now_us))
    bench.session.receive(up.carry(bench.device.take(), bench.now_us), bench.now_us)
    bench._to_device = bench.session.poll(bench.now_us)
    bench.collect()


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("bytes flipped, lost, invented", (FLIP, LOSE, INVENT)),
        ("frames doubled", (DOUBLE,)),
        ("frames swapped", (SWAP,)),
        ("frames late", (DELAY,)),
        ("all of these", KINDS),
    ],
)
def test_a_line_that_spoils(faults: FaultTable, name: str, kinds: tuple[str, ...]) -> None:
    injected = lost = doubled = 0
    recovery_s = 0.0
    for seed in range(4):
        bench = running()
        up, down = ChaosLine(kinds, 0.3, seed), ChaosLine(kinds, 0.3, 1000 + seed)
        for turn in range(400):
            if turn % 4 == 0:
                bench.device.record(turn / 100)
            step(bench, up, down)
        up.on = down.on = False
        begun_us = bench.now_us
        while (bench.missing() or bench.device.unacknowledged) and (
            bench.now_us - begun_us < HEALED_S * 1e6
        ):
            step(bench, up, down)
        recovery_s = max(recovery_s, (bench.now_us - begun_us) / 1e6)
        assert not bench.wrong()
        injected += up.injected + down.injected
        lost += len(bench.missing())
        doubled += bench.conflicts
    faults.add(f"line: {name}", injected, lost, doubled, 0, recovery_s)
    assert injected > 150


class SpoiledPty(PtyDevice):
    """A device behind a terminal and a line that spoils what it sends."""

    def __init__(self, path: Path, device: DeviceModel, line: ChaosLine) -> None:
        super().__init__(path, device)
        self.line = line

    def write(self, data: bytes) -> int:
        if not self._rest:
            data = self.line.carry(data, time.monotonic_ns() // 1000)
        return super().write(data)


def test_noise_on_a_terminal_in_real_time(tmp_path: Path, faults: FaultTable) -> None:
    line = ChaosLine(KINDS, 0.3, 5)
    seen: dict[str, float] = {}

    async def work(bench: SerialBench) -> None:
        device = DeviceModel()
        port = SpoiledPty(tmp_path / "tty-1", device, line)
        bench.plugged.append(port)
        port.plug()
        until_s = time.monotonic() + 4
        while time.monotonic() < until_s or line.injected < 40:
            device.record(1.0)
            await asyncio.sleep(0.02)
        line.on = False
        seen["recovery_s"] = await until(lambda: device.unacknowledged == 0, 15)
        seen["lost"] = len({("lathe", *key) for key in device.made} - bench.kept())
        seen["conflicts"] = bench.store.conflicts

    on_serial_bench(tmp_path, "tty-*", work)
    faults.add(
        "pty: noise", line.injected, int(seen["lost"]), int(seen["conflicts"]), 0,
        seen["recovery_s"],
    )  # fmt: skip


def test_a_port_that_comes_back_under_another_name(tmp_path: Path, faults: FaultTable) -> None:
    seen: dict[str, float] = {"recovery_s": 0.0}
    moves = 5

    async def work(bench: SerialBench) -> None:
        device = DeviceModel()
        port = bench.plug("tty-0", device)
        await until(lambda: bench.online("lathe"))
        for move in range(1, moves + 1):
            for _ in range(10):
                device.record(1.0)
            await asyncio.sleep(0.03 * move)
            port.unplug()
            for _ in range(10):
                device.record(2.0)
            await until(bench.online)
            port.path = tmp_path / f"tty-{move}"
            port.plug()
            begun_s = time.monotonic()
            await until(lambda: bench.online("lathe") and device.unacknowledged == 0, 10)
            seen["recovery_s"] = max(seen["recovery_s"], time.monotonic() - begun_s)
        seen["lost"] = len({("lathe", *key) for key in device.made} - bench.kept())
        seen["conflicts"] = bench.store.conflicts

    on_serial_bench(tmp_path, "tty-*", work)
    faults.add(
        "pty: unplugged, back under another name", moves, int(seen["lost"]),
        int(seen["conflicts"]), 0, seen["recovery_s"],
    )  # fmt: skip


def test_two_devices_with_one_id(faults: FaultTable) -> None:
    lost = conflicts = 0
    rounds = 10
    for round_ in range(rounds):
        bench = running()
        first = bench.device
        for _ in range(5):
            first.record(1.0)
            bench.run(0.05 * (1 + round_ % 3))
        twin = DeviceModel(first.device)
        other = bench.links.open("port-b")
        to_twin = b""
        for _turn in range(120):  # both are there
            first.record(1.0)
            bench.step()
            twin.now_us += STEP_US
            twin.give(to_twin)
            other.receive(twin.take(), bench.now_us)
            to_twin = other.poll(bench.now_us)
            items = other.take_items()
            assert not items, "a twin's items were taken"
        assert (bench.session.state, other.state) == ("refused", "refused")
        bench.links.close(other)  # the twin is taken away: the first goes on
        for _turn in range(1200):
            bench.step()
            if first.unacknowledged == 0:
                break
        lost += len(bench.missing())
        conflicts += bench.conflicts + len(bench.wrong())
    faults.add("two devices with one id", rounds, lost, conflicts)


def test_a_gateway_that_stands_still_for_10_s(tmp_path: Path, faults: FaultTable) -> None:
    device = FrameDevice("lathe", time.monotonic)
    with fault_server() as server:
        server.start(Life(str(tmp_path)))
        line = server.connect()
        assert line is not None
        with line:
            due_s = time.monotonic()

            def until_then(end_s: float) -> bool:
                nonlocal due_s
                if time.monotonic() >= due_s:
                    due_s += 0.05
                    device.make()
                return time.monotonic() > end_s

            end_s = time.monotonic() + 0.5
            assert talk(device, line, lambda: until_then(end_s))
            os.kill(server.pid, signal.SIGSTOP)
            end_s = time.monotonic() + 10
            assert talk(device, line, lambda: until_then(end_s))
            stopped = device.waiting
            os.kill(server.pid, signal.SIGCONT)
            begun_s = time.monotonic()
            assert talk(device, line, lambda: not device.waiting or until_then(begun_s + 15))
            recovery_s = time.monotonic() - begun_s
        assert server.stop() == 0
    assert stopped > 150
    assert device.sessions == 1, "a standstill of ours is no fault of the device"
    lost, doubled = account(tmp_path, device)
    faults.add("event loop stopped for 10 s", 1, lost + device.waiting, doubled, 0, recovery_s)


def test_a_device_that_floods_leaves_the_others_unharmed(
    tmp_path: Path, faults: FaultTable
) -> None:
    for name in ("calm", "flooded"):
        (tmp_path / name).mkdir()
    calm = measure(tmp_path / "calm", devices=20, seconds=3, rate_hz=1)
    result = measure(tmp_path / "flooded", devices=20, seconds=5, rate_hz=1, flooding=1)
    assert calm.good
    assert result.good
    assert result.flood_rate_hz > 100
    # Beside the same without a flood, since the machine may be slow; a second is a commit's wait.
    assert result.ack_p99_s < 4 * calm.ack_p99_s + 1
    faults.add(
        f"one of 21 floods ({result.flood_rate_hz:.0f}/s), slowest ack of the others", 1,
        result.lost, result.duplicated, 0, result.ack_max_s,
    )  # fmt: skip


def test_many_devices(tmp_path: Path, faults: FaultTable) -> None:
    result = measure(tmp_path, devices=200, seconds=4, rate_hz=1)
    assert result.good
    faults.add(
        "200 devices at once, slowest ack", 200, result.lost, result.duplicated, 0,
        result.ack_max_s,
    )  # fmt: skip


@pytest.mark.soak
def test_a_thousand_devices_for_a_minute(tmp_path: Path, faults: FaultTable, report_line) -> None:  # noqa: ANN001
    result = measure(tmp_path, devices=1000, seconds=60, rate_hz=1)
    report_line(f"1000 devices, 60 s: {result}")
    assert result.good
    assert result.ack_p99_s < 1.5
    assert result.memory_end_mb - result.memory_start_mb < 5
    faults.add(
        "1000 devices for 60 s, slowest ack", 1000, result.lost, result.duplicated, 0,
        result.ack_max_s,
    )  # fmt: skip
