"""Devices on TCP behind a proxy that cuts, spoils, slices, slows and goes silent.

The proxy is the one of the shared folder; without that folder these tests are skipped. The device
is the firmware's own link on a real socket, the gateway its real source, sessions and store.
"""

from __future__ import annotations

import asyncio
import importlib.util
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import pytest

from support.devicelink import DeviceModel
from support.faulttable import FaultTable
from support.ports import free_port
from support.serialbench import until
from support.tcpbench import HOST, TcpBench, TcpDevice, on_tcp_bench

PROXY = "faults/chaos_proxy.py"


@pytest.fixture
def proxy_class(shared_dir: Path) -> type:
    """The proxy's class; skips where the shared folder has none."""
    path = shared_dir / PROXY
    if not path.exists():
        pytest.skip(f"no chaos proxy: {path} is not there")
    spec = importlib.util.spec_from_file_location("chaos_proxy", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Chaos


class Proxy(Protocol):
    """What the proxy does now; 0, 0.0, None or False: not that."""

    latency: float
    jitter: float
    rate: float | None
    blackhole: bool
    flip: float
    slice: int
    limit: int | None


Work = Callable[[TcpBench, Proxy, TcpDevice], Awaitable[int]]


def spoiled(
    folder: Path, proxy_class: type, faults: FaultTable, name: str, work: Work, **settings: object
) -> None:
    """Run `work`, which returns how often it injected, heal the line, and enter the row."""
    seen: dict[str, float] = {}

    async def run(bench: TcpBench) -> None:
        port = free_port()
        proxy = await proxy_class((HOST, bench.address)).start(port)
        try:
            device = await bench.join(DeviceModel(spool_items=4096), port)
            await until(lambda: bench.online("lathe"))
            seen["injected"] = await work(bench, proxy, device)
            proxy.latency = proxy.jitter = proxy.slice = 0
            proxy.flip, proxy.blackhole, proxy.limit, proxy.rate = 0.0, False, None, None
            if not device.connected:
                await device.connect()
            device.device.record(0.5)
            healed_s = await until(lambda: device.device.unacknowledged == 0, 15)
            seen["recovery_s"] = healed_s
            seen["lost"] = len(bench.missing(device.device))
            seen["conflicts"] = bench.store.conflicts
            device.disconnect()
            await until(lambda: not proxy.conns)
        finally:
            proxy.srv.close()

    random.seed(20261122)  # the proxy draws from the common source
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clampgateway.clocksync.INTERVAL_US", 200_000)
        on_tcp_bench(folder, run, **settings)
    faults.add(
        f"tcp: {name}", int(seen["injected"]), int(seen["lost"]), int(seen["conflicts"]), 0,
        seen["recovery_s"],
    )  # fmt: skip


def test_connections_cut_after_any_number_of_bytes(
    tmp_path: Path, proxy_class: type, faults: FaultTable
) -> None:
    async def work(bench: TcpBench, proxy: Proxy, device: TcpDevice) -> int:
        cuts = 25
        for cut in range(cuts):
            if not device.connected:
                await device.connect()
            for _ in range(3):
                device.device.record(float(cut))
            proxy.limit = 20 + 37 * cut % 500
            while device.connected:
                device.device.record(1.0)
                await asyncio.sleep(0.03)
            proxy.limit = None
        return cuts

    spoiled(tmp_path, proxy_class, faults, "cut after N bytes", work)


def test_bytes_flipped_in_slices_that_come_late(
    tmp_path: Path, proxy_class: type, faults: FaultTable
) -> None:
    async def work(bench: TcpBench, proxy: Proxy, device: TcpDevice) -> int:
        proxy.slice, proxy.latency, proxy.jitter, proxy.flip = 7, 0.005, 0.005, 0.3
        spoiled_frames = 0
        while spoiled_frames < 40:
            device.device.record(1.0)
            await asyncio.sleep(0.1)
            spoiled_frames = bench.links.stats()["errors"] + device.device.link.rx_errors
        return int(spoiled_frames)

    spoiled(tmp_path, proxy_class, faults, "bytes flipped, slices, delay", work)


def test_a_line_that_is_silent_and_stays_open(
    tmp_path: Path, proxy_class: type, faults: FaultTable
) -> None:
    async def work(bench: TcpBench, proxy: Proxy, device: TcpDevice) -> int:
        for times in range(1, 5):
            for _ in range(10):
                device.device.record(1.0)
            proxy.blackhole = True
            await asyncio.sleep(0.2 if times % 2 else 0.0)
            if times % 2:
                await until(lambda times=times: bench.count("silent") == (times + 1) // 2)
            proxy.blackhole = False
            await device.connect()  # the old one is left as it is
            await until(lambda: device.device.unacknowledged == 0, 10)
        assert bench.count("silent") == 2
        return 4

    spoiled(tmp_path, proxy_class, faults, "half-open, device comes anew", work, idle_s=0.8)
