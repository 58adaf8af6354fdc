"""The demo as a newcomer runs it, with the system's own clients beside it (issue A, 1 and 2)."""

import json
import math
import os
import re
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clampgateway.registers import schema
from clamptools.interpreter import find_interpreter
from e2e.running import DemoEnd, DemoProcess, run_client
from support.ports import wait_for
from support.skips import need_debian

SECONDS = 14
DEVICES = 3
pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoProcess]:
    """One demo for the module; the first tests look at it while it runs."""
    folder = tmp_path_factory.mktemp("demo")
    process = DemoProcess(
        "--for", str(SECONDS), "--devices", str(DEVICES), "--json", folder=folder
    )
    yield process
    process.kill()


def mbpoll(port: int, unit: int, kind: str, address: int, count: int = 1) -> list[str]:
    """Values as the client prints them; FC 03, addresses from 0, high word first."""
    program = need_debian("mbpoll")
    text = run_client(
        program, "-m", "tcp", "-p", str(port), "-a", str(unit), "-0", "-B", "-1", "-q",
        "-r", str(address), "-c", str(count), "-t", kind, "127.0.0.1",
    )  # fmt: skip
    return re.findall(r"^\[\d+\]:\s+(.*)$", text, re.MULTILINE)


def test_mbpoll_reads_test_pattern_and_current(demo: DemoProcess) -> None:
    port = demo.ports()["modbus"]
    wait_for(
        lambda: mbpoll(port, schema.GATEWAY_UNIT, "4", 31) == [str(DEVICES)], 15, "three units"
    )
    for unit in (1, schema.GATEWAY_UNIT):
        assert mbpoll(port, unit, "4:float", 2) == ["1234.5"]
        assert int(mbpoll(port, unit, "4:int", 4)[0]) == 0x12345678

    def currents() -> list[float] | None:
        """RMS of the first channel of each device; None while one has no good record."""
        good = [mbpoll(port, unit, "4", schema.slot_address(1, 12)) for unit in (1, 2, 3)]
        if good != [["1"]] * DEVICES:
            return None
        slot = schema.slot_address(1, schema.FLOATS_AT)
        return [float(mbpoll(port, unit, "4:float", slot)[0]) for unit in (1, 2, 3)]

    for value in wait_for(currents, 15, "a good record of each device"):
        assert math.isfinite(value)
        assert 0 <= value < 200


def test_mosquitto_sub_prints_records(demo: DemoProcess) -> None:
    """Topic and content as docs/topics.md has them."""
    program = need_debian("mosquitto-clients", "mosquitto_sub")
    text = run_client(
        program, "-h", "127.0.0.1", "-p", str(demo.ports()["mqtt"]), "-v", "-q", "1",
        "-t", "clampwork/#", "-C", "32", "-W", "20",
    )  # fmt: skip
    messages = [line.split(" ", 1) for line in text.splitlines()]
    births = {topic: json.loads(body) for topic, body in messages if topic.endswith("/birth")}
    assert len(births) == DEVICES
    found = 0
    for topic, body in messages:
        root, site, device, kind = topic.split("/")[:4]
        if kind != "data":
            continue
        found += 1
        birth = births[f"{root}/{site}/{device}/birth"]
        record = json.loads(body)
        assert set(record) - {"cf"} == {"t", "dur", "boot", "seq", "q", "f", "ch"}
        assert abs(record["t"] / 1000 - time.time()) < 60
        assert record["dur"] == 1000
        assert record["q"] == "good"
        assert set(record["ch"]) == {channel["key"] for channel in birth["channels"]}
        for channel in birth["channels"]:
            keys = {feature["key"] for feature in channel["features"]}
            assert set(record["ch"][channel["key"]]) <= keys
    assert found >= 3
    assert "clampwork/demo/_gateway/demo/availability online" in text


def test_result(demo: DemoProcess, report_line: Callable[[str], None]) -> None:
    """Runs last: waits for the end. Nothing lost, doubled or mismatched."""
    end = demo.wait(SECONDS + 40)
    result = end.result
    assert end.code == 0, end.stderr
    assert end.stdout.count("\n") == 1
    assert result["devices"] == DEVICES
    assert result["interpreter"] == find_interpreter().text
    assert result["records_made"] >= DEVICES * (SECONDS - 4)
    assert result["records_made"] == result["records_committed"] == result["records_received"]
    assert (result["lost"], result["duplicates"], result["gaps"]) == (0, 0, [])
    assert result["modbus_reads"] > 100
    assert result["modbus_compared"] > 10
    assert result["modbus_mismatches"] == 0
    assert result["rms_compared"] > 10
    assert result["max_rms_error_pct"] < 1
    assert 0 < result["latency_p95_ms"] < 2000
    report_line(f"demo of {SECONDS} s: {json.dumps(result)}")


def children_of(pid: int) -> set[int]:
    """Processes whose parent is `pid`, from /proc."""
    found: set[int] = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if int(fields[1]) == pid:
            found.add(int(stat.parent.name))
    return found


def committed(port: int) -> int:
    """How many items the demo's gateway has in its store."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/stats", timeout=5) as answer:
        return json.load(answer)["committer"]["committed"]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux' /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_stays_behind(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C ends in order with a verdict; even SIGKILL leaves no process behind."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)
    try:
        demo = DemoProcess("--devices", "1", "--json", folder=tmp_path)
    finally:
        del os.environ["TMPDIR"]
    ports = demo.ports()
    wait_for(lambda: len(children_of(demo.pid)) == 3, 15, "broker, gateway and device")
    children = children_of(demo.pid)
    assert all(map(alive, children))
    wait_for(lambda: committed(ports["api"]) > 8, 40, "a few records")
    demo.send(number)
    end: DemoEnd = demo.wait(40)
    wait_for(lambda: not any(map(alive, children)), 10, "the end of all processes")
    if number != signal.SIGKILL:
        assert end.code == 0, end.stderr
        assert end.result["lost"] == 0
        assert end.result["records_made"] > 0
        assert list(temporary.iterdir()) == []
