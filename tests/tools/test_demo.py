"""The demo's parts: its machines, its processes, and a verdict that can be bad."""

import dataclasses
import math
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from clampgateway.registers import schema
from clamptools import cli
from clamptools.demo.account import RECORD, Account, Key
from clamptools.demo.devices import Made, Plan, PowerUp, SimulatedDevice
from clamptools.demo.modbus import ModbusLog, SlotRead
from clamptools.demo.plans import MACHINES_MAX, plans, truths
from clamptools.demo.processes import Child, ChildError, free_ports, wait_listening
from clamptools.demo.session import Evidence
from clamptools.demo.verdict import judge
from clamptools.interpreter import Interpreter
from clampwire.codec import Codec
from clampwire.values import pack_values

CODEC = Codec()
START_MS = 1_763_750_000_000
STEP = (ord("I"), 1, -5)  # fine enough not to hide an error
LAYOUT = 9


@pytest.fixture
def lathe(tmp_path: Path) -> SimulatedDevice:
    interpreter = Interpreter("/bin/false", "none", micropython=False)
    return SimulatedDevice(tmp_path / "lathe", tmp_path / "ports", plans(1)[0], interpreter)


def describe(rate_hz: float = 6400.0, full_scale: float = 30.0) -> bytes:
    features = (("rms", "A", *STEP),)
    fields = ("current1", "current", "A", "", rate_hz, full_scale, 0.0, 0.0, "", features)
    return CODEC.encode("Describe", 0x109, LAYOUT, 1, 0, *fields)


class Run:
    """A run of the lathe that went well, to be spoiled by a test. Records at seconds 10 to 14."""

    SECONDS = range(10, 15)

    def __init__(self, device: SimulatedDevice, off_pct: float = 0.0) -> None:
        self.device = device
        device.side_file.power_ups.append(PowerUp("d1", 0, START_MS, "MicroPython 1", ()))
        self.account = Account()
        self.account.add_power_up(PowerUp("d1", 0, START_MS, "", (describe(),)))
        self.truths = truths([device])
        self.modbus = ModbusLog()
        self.committed: set[Key] = set()
        self.interpreter = "MicroPython 1"
        for second in self.SECONDS:
            ideal = self.truths["lathe"].rms("current1", 6400 * (second - 1), 6400)
            value = round(ideal * (1 + off_pct / 100), 5)
            payload = CODEC.encode(
                "Record", 1, second, 1000 * second, 5, LAYOUT, b"", pack_values((STEP,), (value,))
            )
            self.account.add_made("d1", Made(0, 1, second, RECORD, 1000 * second, 0, payload))
            self.committed.add(Key("d1", 1, second))
            end_ms = START_MS + 1000 * second
            content = {
                "t": end_ms + 2, "dur": 1000, "boot": 1, "seq": second, "q": "good", "f": [],
                "ch": {"current1": {"rms": value}},
            }  # fmt: skip
            self.account.add_received("d1", "data", content, end_ms + 100 + second)
            self.modbus.slots.append(self.slot(second, value))
        self.evidence = Evidence(self.account, self.modbus, [], [], 0, interrupted=False)

    @staticmethod
    def slot(seq: int, rms: float) -> SlotRead:
        floats = (rms, *[math.nan] * (schema.FEATURES - 1))
        return SlotRead("d1", "current1", 1, 1, 1, seq, floats)

    def result(self) -> tuple[dict[str, Any], list[str]]:
        verdict = judge(
            self.evidence, [self.device], self.truths, self.committed, self.interpreter
        )
        assert verdict.good == (not verdict.problems) == verdict.result["ok"]
        return verdict.result, verdict.problems


def test_good_run(lathe: SimulatedDevice) -> None:
    result, problems = Run(lathe).result()
    assert problems == []
    assert result["interpreter"] == "MicroPython 1"
    assert result["records_made"] == result["records_committed"] == 5
    assert (result["lost"], result["duplicates"], result["modbus_mismatches"]) == (0, 0, 0)
    assert result["latency_p95_ms"] == 114
    assert result["clock_error_p95_ms"] == 2
    assert result["rms_compared"] >= 3
    assert result["max_rms_error_pct"] < 0.01


def test_rms_error_is_measured(lathe: SimulatedDevice) -> None:
    result, problems = Run(lathe, off_pct=0.7).result()
    assert result["max_rms_error_pct"] == pytest.approx(0.7, abs=0.01)
    assert problems == []
    lathe.side_file.power_ups.clear()
    result, problems = Run(lathe, off_pct=-3).result()
    assert result["max_rms_error_pct"] == pytest.approx(3, abs=0.01)
    assert "3 % off" in problems[0]


def test_what_spoils_a_run(lathe: SimulatedDevice) -> None:
    run = Run(lathe)
    del run.account.received[Key("d1", 1, 12)]
    run.committed.discard(Key("d1", 1, 13))
    run.modbus.slots.append(run.slot(11, 1.0))
    run.modbus.mismatches.append("test patterns")
    run.evidence = dataclasses.replace(
        run.evidence, odd=["odd"], phantoms=[Key("d1", 9, 9)], gateway_code=None
    )
    run.interpreter = "CPython 3.11 (no MicroPython found)"
    result, problems = run.result()
    assert (result["lost"], result["records_committed"]) == (1, 4)
    assert result["modbus_mismatches"] == 3  # the third: its record did not come by MQTT
    text = "\n".join(problems)
    for words in (
        "lost: Key(device='d1', boot=1, seq=12)",
        "no such record came by MQTT",
        "rms reads 1.0",
        "test patterns",
        "not as docs/topics.md says",
        "never made",
        "ended with code None",
        "a device runs MicroPython 1, not CPython",
    ):
        assert words in text


def test_silence_is_no_success(lathe: SimulatedDevice) -> None:
    run = Run(lathe)
    run.account.made.clear()
    run.account.received.clear()
    run.modbus.slots.clear()
    _result, problems = run.result()
    assert any("0 of 1 devices" in problem for problem in problems)
    assert any("no Modbus slot" in problem for problem in problems)


def test_machines_have_names_of_their_own() -> None:
    made: list[Plan] = plans(MACHINES_MAX)
    names = [plan.board["name"] for plan in made]
    assert names[:4] == ["lathe", "laser", "printer", "lathe2"]
    assert len(set(names)) == MACHINES_MAX
    assert made[0].scenario != made[3].scenario


def test_too_many_devices(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--devices", "0"]) == 2
    assert cli.main(["demo", "--devices", str(MACHINES_MAX + 1)]) == 2
    assert f"1 to {MACHINES_MAX}" in capsys.readouterr().err


def test_device_that_dies_tells_its_last_words(tmp_path: Path) -> None:
    fake = tmp_path / "fake"
    fake.write_text("#!/bin/sh\necho MemoryError: no room\nexit 1\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    ports = tmp_path / "ports"
    device = SimulatedDevice(
        tmp_path / "d", ports, plans(1)[0], Interpreter(str(fake), "fake", micropython=False)
    )
    device.start()
    with pytest.raises(ChildError, match="MemoryError: no room"):
        device.plug_in()
    assert list(ports.iterdir()) == []
    device.stop()


def test_child_that_ends_tells_its_log(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    child = Child("thing", [sys.executable, "-c", "print('no way'); exit(3)"], tmp_path / "log")
    with pytest.raises(ChildError, match=r"thing ended with code 3:\n  no way"):
        wait_listening(child, port, 10)
    assert child.stop()
    assert not child.running


def test_child_that_ignores_us_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('up', flush=True)\n"
        "sys.stdin.read()\nsignal.pause()"
    )
    child = Child("deaf", [sys.executable, "-c", code], tmp_path / "log")
    while "up" not in child.tail():
        child.check()
    assert not child.stop(timeout_s=0.3)
    assert child.code == -9
