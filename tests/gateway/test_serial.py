"""The serial source on pseudo-terminals: ports that come, go, are released or are none."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from pathlib import Path

import pytest

from clampgateway.config import Wrong
from clampgateway.sources import SOURCES
from clampgateway.sources.serial import SerialSource, Settings
from support.devicelink import DeviceModel
from support.serialbench import SerialBench, on_serial_bench, until


async def talking(bench: SerialBench, device: DeviceModel) -> float:
    """Until a device in the middle of a session was heard, asked for its Hello, and welcomed."""
    begun = time.monotonic()
    while not bench.devices.at(device.device).online:
        device.record(3.0)
        await asyncio.sleep(0.1)
    return time.monotonic() - begun


def test_unplugged_and_plugged_into_another_terminal_nothing_is_lost(tmp_path: Path) -> None:
    async def work(bench: SerialBench) -> None:
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

    on_serial_bench(tmp_path, "tty-lathe", work)


def test_ports_of_a_pattern_come_and_go(tmp_path: Path) -> None:
    async def work(bench: SerialBench) -> None:
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
        assert await talking(bench, lathe.device) < 3
        assert bench.online("lathe", "mill")
        mill.unplug()
        await until(lambda: bench.online("lathe"))

    on_serial_bench(tmp_path, "tty-*", work)


def test_a_port_is_exclusive_until_it_is_released(tmp_path: Path) -> None:
    def lock(path: Path) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    async def work(bench: SerialBench) -> None:
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

    on_serial_bench(tmp_path, "tty-lathe", work)


def test_what_is_no_serial_port_is_said_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "tty-file").write_text("no port")

    async def work(bench: SerialBench) -> None:
        await until(lambda: bench.port("tty-file").get("open_failures", 0) >= 3)
        assert bench.port("tty-file")["error"]
        assert bench.port("tty-file")["retry_s"] > 0.2
        (tmp_path / "tty-file").unlink()
        bench.plug("tty-file", DeviceModel())
        assert await until(lambda: bench.online("lathe")) < 3

    on_serial_bench(tmp_path, "tty-file", work)


def test_a_port_must_be_a_path() -> None:
    with pytest.raises(ValueError, match="must be an absolute path"):
        Settings(port="socket://host:1")
    assert issubclass(Wrong, ValueError)
    assert SOURCES["serial"] == f"{SerialSource.__module__}:{SerialSource.__name__}"
