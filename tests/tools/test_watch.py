"""The live tables: what a subscriber knows of each device, and how it is shown."""

import asyncio
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from clamptools.demo.processes import Child, free_ports, wait_listening
from clamptools.livetable import LiveTable, line_of
from clamptools.liveview import View

V311 = aiomqtt.ProtocolVersion.V311
BIRTH = {
    "machine": "lathe",
    "board": "sim",
    "channels": [{"key": "ct_a", "quantity": "current"}, {"key": "vibration1"}],
}


def record(seq: int, t: int = 1000, **channels: Any) -> bytes:  # noqa: ANN401
    return json.dumps({"t": t, "dur": 1000, "boot": 3, "seq": seq, "ch": channels}).encode()


@pytest.fixture
def view() -> View:
    view = View("clampwork")
    view.took("clampwork/shop/_gateway/g1/availability", b"online")
    view.took("clampwork/shop/d1/birth", json.dumps(BIRTH).encode())
    view.took("clampwork/shop/d1/availability", b"online")
    view.took("clampwork/shop/d1/state", b'{"state": "working"}')
    return view


def test_row(view: View) -> None:
    channels = {"ct_a": {"rms": 4.2}, "vibration1": {"a": 9.0, "v_x": 1.5, "v_y": None}}
    view.took("clampwork/shop/d1/data", record(0, **channels))
    (row,) = view.rows(now_utc_ms=1250)
    assert (row.name, row.state, row.online) == ("lathe", "working", True)
    assert (row.current_a, row.velocity_mm_s, row.age_ms) == ((4.2,), 1.5, 250)
    assert line_of(row) == "lathe: working, 4.20 A, 1.50 mm/s, 1 records, 0 lost, 0.2 s old"


def test_cpython_is_said(view: View) -> None:
    birth = {**BIRTH, "runtime": "CPython 3.11.7"}
    view.took("clampwork/shop/d1/birth", json.dumps(birth).encode())
    (row,) = view.rows(0)
    assert line_of(row).startswith("lathe (CPython 3.11.7): working")
    birth["runtime"] = "MicroPython 1.29.0"
    view.took("clampwork/shop/d1/birth", json.dumps(birth).encode())
    (row,) = view.rows(0)
    assert line_of(row).startswith("lathe: working")


def test_missing_and_late(view: View) -> None:
    for seq in (0, 1, 4, 4):
        view.took("clampwork/shop/d1/data", record(seq, t=1000 * seq))
    (row,) = view.rows(5000)
    assert (row.records, row.missing, row.age_ms) == (3, 2, 1000)
    event = {"t": 1, "boot": 3, "seq": 3, "kind": "gap", "reason": "overrun"}
    view.took("clampwork/shop/d1/event", json.dumps(event).encode())
    view.took("clampwork/shop/d1/data", record(2, t=2000))
    (row,) = view.rows(5000)
    assert (row.records, row.missing, row.gaps, row.age_ms) == (4, 0, 1, 1000)


def test_history_counts_and_condensed_records_stand_for_others(view: View) -> None:
    old = [json.loads(record(seq)) for seq in (1, 2)]
    condensed = {**json.loads(record(12)), "before": 9}
    view.took("clampwork/shop/d1/data", record(13))
    view.took("clampwork/shop/d1/history", json.dumps([*old, condensed]).encode())
    view.took("clampwork/shop/d1/history", json.dumps(old).encode())
    (row,) = view.rows(0)
    assert (row.records, row.missing, view.odd) == (4, 0, 0)
    view.took("clampwork/shop/d1/history", b'{"boot": 1}')
    assert view.odd == 1


def ledger(day: str, *numbers: int) -> dict[str, Any]:
    names = ("expected", "received", "condensed", "late", "lost", "pending")
    return {"day": day, **dict(zip(names, numbers, strict=True))}


def test_what_the_ledger_says_is_a_line(view: View) -> None:
    out = io.StringIO()
    with LiveTable(out, "title") as table:
        table.show(view.rows(0), last=True)
        assert "ledger" not in out.getvalue()
        days = [ledger("2026-11-21", 9, 9, 0, 0, 0, 0), ledger("2026-11-22", 10, 7, 1, 3, 1, 1)]
        content = {"device": "d1", "days": [ledger("unsynced", 1, 1, 0, 0, 0, 0), *days]}
        view.took("clampwork/shop/d1/ledger", json.dumps(content).encode())
        for device, day in (("d2", "2026-11-22"), ("d3", "2026-11-20")):
            content = {"device": device, "days": [ledger(day, 5, 5, 0, 0, 0, 0)]}
            view.took(f"clampwork/shop/{device}/ledger", json.dumps(content).encode())
        table.show(view.rows(0), last=True)
    assert out.getvalue().endswith(
        "ledger of 2026-11-22: 15 expected, 12 received, 1 condensed, 3 late, 1 lost, 1 pending\n"
    )
    assert view.odd == 0


def test_a_removed_device_has_no_row(view: View) -> None:
    assert len(list(view.rows(0))) == 1
    site, device = "shop", "d1"
    for name in ("birth", "availability", "state", "ledger"):
        view.took(f"clampwork/{site}/{device}/{name}", b"")
    assert (list(view.rows(0)), view.odd) == ([], 0)
    view.took(f"clampwork/{site}/{device}/availability", b"online")
    assert [row.online for row in view.rows(0)] == [True]


def test_offline_with_its_gateway(view: View) -> None:
    view.took("clampwork/shop/_gateway/g1/availability", b"offline")
    (row,) = view.rows(0)
    assert (row.online, row.state) == (False, "offline")


@pytest.mark.parametrize("payload", [b"{", b"[1]", b"{}", b'{"boot": "x", "seq": 1}', b"\xff"])
def test_odd_payload_is_counted(view: View, payload: bytes) -> None:
    view.took("clampwork/shop/d1/data", payload)
    assert view.odd == 1
    (row,) = view.rows(0)
    assert row.records == 0


def test_text_of_a_device_is_text(view: View) -> None:
    name = "\x1b[2J[red]evil\n"
    view.took("clampwork/shop/d1/birth", json.dumps({**BIRTH, "machine": name}).encode())
    out = io.StringIO()
    with LiveTable(out, "title") as table:
        table.show(view.rows(0))
    assert "\x1b" not in out.getvalue()
    assert "?[2J[red]evil?: working" in out.getvalue()


def test_plain_lines_are_rare(view: View) -> None:
    out = io.StringIO()
    with LiveTable(out, "title") as table:
        for _ in range(10):
            table.show(view.rows(0))
        assert out.getvalue().count("\n") == 1
        table.show(view.rows(0), last=True)
    assert out.getvalue().count("\n") == 2


def watch(port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "clamptools.cli", "watch", "--port", str(port), *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_command_with_the_embedded_broker(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "clamptools.broker", "--port", str(port)]
    broker = Child("broker", command, tmp_path / "log")
    try:
        wait_listening(broker, port, 10)
        asyncio.run(_publish(port))
        done = watch(port, "--for", "1.5")
    finally:
        assert broker.stop()
    assert broker.code == 0
    assert (done.returncode, done.stderr) == (0, "")
    assert "lathe: idle" in done.stdout


async def _publish(port: int) -> None:
    async with aiomqtt.Client("127.0.0.1", port, protocol=V311) as client:
        for kind, payload in (
            ("birth", json.dumps(BIRTH)),
            ("availability", "online"),
            ("state", '{"state": "idle"}'),
        ):
            await client.publish(f"clampwork/shop/d1/{kind}", payload, qos=1, retain=True)


def test_command_without_a_broker() -> None:
    (port,) = free_ports(1)
    done = watch(port)
    assert done.returncode == 2
    assert f"no MQTT broker at 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr
