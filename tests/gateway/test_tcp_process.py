"""The gateway as a process with devices on TCP: the firmware's own process behind a bridge."""

from __future__ import annotations

import contextlib
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clampgateway.model import RECORD
from clamptools.demo.devices import SimulatedDevice
from clamptools.demo.plans import plans
from clamptools.interpreter import find_interpreter
from support.gatewayprocess import GatewayProcess
from support.ports import free_port, wait_for
from support.ptybridge import PtyBridge
from support.tcpbench import HOST


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway with a TCP source, not yet started."""
    running = GatewayProcess(tmp_path, f"[[tcp]]\nport = {free_port()}\n")
    yield running
    if running.process is not None:
        running.process.kill()
        running.process.wait()


def tcp(gateway: GatewayProcess) -> dict:
    return gateway.get("/api/v1/stats")["sources"]["tcp"]


def test_simulated_devices_by_tcp_and_a_gateway_that_is_killed(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    gateway.start()
    port = tcp(gateway)["port"]
    interpreter = find_interpreter()
    devices = [
        SimulatedDevice(tmp_path / plan.board["name"], tmp_path / "ptys", plan, interpreter)
        for plan in plans(2)
    ]
    bridges: list[PtyBridge] = []
    try:
        for device in devices:
            device.start()
        for device in devices:
            device.plug_in()
            bridges.append(PtyBridge(tmp_path / "ptys" / device.name, lambda: (HOST, port)))
        wait_for(lambda: gateway.get("/api/v1/stats")["committer"]["committed"] > 8, 30, "records")
        assert (tcp(gateway)["connections"], tcp(gateway)["accepted"]) == (2, 2)
        assert gateway.get("/healthz") == {"status": "ok", "reasons": []}
        for _ in range(2):
            gateway.end(signal.SIGKILL)
            gateway.start()
            wait_for(lambda: gateway.get("/api/v1/stats")["links"]["online"] == 2, 20, "both")
            time.sleep(1.5)
        made = set()
        for device in devices:
            device.check()
            items = device.side_file.read()
            key = device.side_file.power_ups[0].device
            made |= {(key, item.boot, item.seq) for item in items if item.kind == RECORD}
        wait_for(lambda: made <= kept(gateway), 20, "what was made")
        assert gateway.end() == 0
    finally:
        for bridge in bridges:
            bridge.close()
        for device in devices:
            device.stop()
    assert len(made) > 15
    assert made <= gateway.committed()
    assert "Traceback" not in gateway.log()


def kept(gateway: GatewayProcess) -> set[tuple[str, int, int]]:
    """What the store of a running gateway holds."""
    query = "SELECT key, boot, seq FROM items JOIN devices ON devices.id = device"
    with contextlib.closing(sqlite3.connect(gateway.state / "store.db")) as db:
        return set(db.execute(query))


def test_a_crowd_is_told_at_healthz_and_in_the_counters(gateway: GatewayProcess) -> None:
    text = gateway.file.read_text().replace("[[tcp]]", "[[tcp]]\nmax_connections = 1")
    gateway.file.write_text(text)
    gateway.start()
    port = tcp(gateway)["port"]
    with socket.create_connection((HOST, port)), socket.create_connection((HOST, port)) as second:
        second.settimeout(5)
        assert second.recv(1) == b""
        report = gateway.get("/healthz")
        assert report["status"] == "degraded"
        assert report["reasons"][0]["part"] == "tcp"
        assert "max_connections=1" in report["reasons"][0]["text"]
        assert tcp(gateway)["refused"] == 1
    wait_for(lambda: gateway.get("/healthz")["status"] == "ok", 5, "room again")
    assert gateway.end() == 0


def test_another_address_than_loopback_does_not_start(gateway: GatewayProcess) -> None:
    text = gateway.file.read_text().replace("[[tcp]]", '[[tcp]]\nbind = "0.0.0.0"')
    gateway.file.write_text(text)
    assert gateway.fails() == 2
    assert "devices on TCP have no keys yet" in gateway.log()
    assert "Traceback" not in gateway.log()
