"""A live gateway killed at its file operations, and one whose disk fails under it.

The device sends records without end and notes each acknowledgement: that is the truth. What was
acknowledged must be in the store at the end, once, as it was made.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from clamptools.framedevice import FrameDevice
from support.faultserver import INJECTED_FILE, FaultServer, Life, account, fault_server, talk
from support.faulttable import FaultTable


def drain(server: FaultServer, folder: Path, device: FrameDevice) -> None:
    """A healthy life until everything is acknowledged."""
    server.start(Life(str(folder)))
    line = server.connect()
    assert line is not None
    with line:
        device.connect()
        until_s = time.monotonic() + 20
        assert talk(device, line, lambda: not device.waiting or time.monotonic() > until_s)
    assert device.waiting == 0
    assert server.stop() == 0


def killed_at_each(tmp_path: Path, faults: FaultTable, first: int, last: int) -> None:
    device = FrameDevice("lathe", time.monotonic)
    recovery_s = 0.0
    with fault_server() as server:
        for kill_at in range(first, last + 1):
            acked = len(device.acked)
            begun_s = time.monotonic()
            first_ack_s = 0.0
            server.start(Life(str(tmp_path), kill_at))
            line = server.connect()
            if line is not None:
                with line:
                    device.connect()

                    def step(acked: int = acked, begun_s: float = begun_s) -> bool:
                        nonlocal first_ack_s
                        if not first_ack_s and len(device.acked) > acked:
                            first_ack_s = time.monotonic() - begun_s
                        if device.waiting < 20:
                            device.make()
                        return False

                    talk(device, line, step)
            assert server.ended() == -9, kill_at
            recovery_s = max(recovery_s, first_ack_s)
        drain(server, tmp_path, device)
    lost, doubled = account(tmp_path, device)
    kills = last + 1 - first
    assert len(device.acked) > 3 * kills
    faults.add(f"SIGKILL, file operation {first} to {last}", kills, lost, doubled, 0, recovery_s)


def test_a_gateway_killed_at_each_of_its_file_operations(
    tmp_path: Path, faults: FaultTable
) -> None:
    killed_at_each(tmp_path, faults, 1, 120)


@pytest.mark.soak
def test_a_gateway_killed_at_each_of_many_file_operations(
    tmp_path: Path, faults: FaultTable
) -> None:
    killed_at_each(tmp_path, faults, 1, 1500)


def spoiled(tmp_path: Path, word: str, injections: int) -> tuple[int, int, int, float]:
    """(injections, lost, doubled, slowest acknowledgement in s) of lives with this error."""
    device = FrameDevice("lathe", time.monotonic)
    injected = 0
    with fault_server() as server:
        server.make_store(tmp_path)
        seed = 0
        while injected < injections:
            seed += 1
            (tmp_path / INJECTED_FILE).unlink(missing_ok=True)
            server.start(Life(str(tmp_path), errors=(word,), seed=seed))
            line = server.connect()
            if line is not None:
                with line:
                    device.connect()
                    until_s = time.monotonic() + 1.0

                    def step(until_s: float = until_s) -> bool:
                        if device.waiting < 20:
                            device.make()
                        return time.monotonic() > until_s

                    assert talk(device, line, step), "the gateway ended over an error of the disk"
                server.stop()  # it may fail at the very end: nothing waits for an answer then
            else:
                assert server.ended() == 1  # the disk failed while it started; it may say so
            if (tmp_path / INJECTED_FILE).exists():
                injected += int((tmp_path / INJECTED_FILE).read_text())
        drain(server, tmp_path, device)
    lost, doubled = account(tmp_path, device)
    return injected, lost, doubled, max(device.latencies_s)


@pytest.mark.parametrize("word", ["EIO", "ENOSPC", "EROFS"])
def test_a_disk_that_fails_now_and_then(tmp_path: Path, faults: FaultTable, word: str) -> None:
    injected, lost, doubled, slowest_s = spoiled(tmp_path, word, 60)
    faults.add(f"{word} in bursts", injected, lost, doubled, 0, slowest_s)


def test_a_disk_that_is_full_for_long(tmp_path: Path, faults: FaultTable) -> None:
    device = FrameDevice("lathe", time.monotonic)
    (tmp_path / "full").touch()
    with fault_server() as server:
        server.start(Life(str(tmp_path), full_bytes=400 << 10))
        line = server.connect()
        assert line is not None
        with line:
            device.connect()

            def fills() -> bool:
                if device.waiting < 200:
                    device.make()
                return device.waiting >= 200

            assert talk(device, line, fills)
            acked = len(device.acked)
            until_s = time.monotonic() + 2
            assert talk(device, line, lambda: time.monotonic() > until_s)
            assert len(device.acked) == acked, "acknowledged on a full disk"
            (tmp_path / "full").unlink()
            freed_s = time.monotonic()
            assert talk(device, line, lambda: not device.waiting or time.monotonic() > freed_s + 9)
            recovery_s = time.monotonic() - freed_s
        assert device.waiting == 0
        assert server.stop() == 0
    lost, doubled = account(tmp_path, device)
    injected = int((tmp_path / INJECTED_FILE).read_text())
    faults.add("disk full, then freed", injected, lost, doubled, 0, recovery_s)
