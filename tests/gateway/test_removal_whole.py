"""A device is removed from a whole gateway, a process, by the command line; and comes back."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.gatewayprocess import GatewayProcess
from support.mosquitto import Mosquitto
from support.ports import wait_for
from support.ptythread import ThreadedDevice

LATHE = "lathe"


@pytest.fixture
def lathe(tmp_path: Path) -> Iterator[ThreadedDevice]:
    (tmp_path / "ports").mkdir()
    device = ThreadedDevice(tmp_path / "ports", LATHE)
    device.plug()
    yield device
    device.unplug()


def command(running: GatewayProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "clamptools.cli", *arguments, "--config", str(running.file)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(line, capture_output=True, text=True, timeout=30, check=False, env=env)


def received(running: GatewayProcess) -> int:
    """Numbers of this device that the ledger has, of all days."""
    devices = running.get("/api/v1/ledger")["devices"]
    days: list[dict[str, Any]] = [day for each in devices for day in each["days"]]
    return sum(day["received"] for day in days)


def test_removed_killed_and_back(
    tmp_path: Path, lathe: ThreadedDevice, mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    toml = f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n[modbus]\nport = 0\n'
    running = GatewayProcess(tmp_path, toml).start()
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: running.process and running.process.kill())
        wait_for(lambda: len(lathe.acknowledged()) > 20, 20, "acks")
        done = command(running, "device", "remove", LATHE)
        assert done.returncode == 2
        assert "is connected at" in done.stderr
        assert "unplug it first" in done.stderr
        lathe.unplug()
        wait_for(lambda: not running.device(LATHE)["online"], 10, "it is unplugged")
        done = command(running, "device", "remove", LATHE)
        assert (done.returncode, done.stderr) == (0, "")
        assert running.get("/api/v1/devices") == {"devices": []}
        bridge = lambda: running.get("/api/v1/stats")["bridges"]["mqtt"]  # noqa: E731
        idle = {"delivering": 0, "emptying": 0}
        wait_for(lambda: bridge()["removals"] == idle, 10, "the topics are empty")
        assert command(running, "device", "remove", LATHE).returncode == 2
        kept = received(running)
        assert kept > 20
        running.end(signal.SIGKILL)

        running.start()
        assert running.get("/api/v1/devices") == {"devices": []}
        assert received(running) >= kept, "past days stay readable"
        assert running.get("/api/v1/stats")["bridges"]["modbus"]["units"] == 1, "reserved"
        before = len(lathe.acknowledged())
        lathe.plug()
        wait_for(lambda: len(lathe.acknowledged()) > before + 10, 20, "acks")
        back = running.device(LATHE)
        assert back["online"]
        stats = running.get("/api/v1/stats")
        assert stats["removals"] == {"devices": 0, "removed": 0, "returned": 1}
        assert stats["bridges"]["modbus"]["units"] == 1, "the same unit"
        assert running.end() == 0
        committed = running.committed()
        assert {(LATHE, *name) for name in lathe.acknowledged()} <= committed
