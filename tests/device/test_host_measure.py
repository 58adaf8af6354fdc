"""The signal chain against truth from outside: ideal waveforms in float64, and recordings.

The simulated machines run in the real firmware under MicroPython, faster than time; what they
should measure is `clamptools.truth`. The recordings and their reference values lie beside the
checkout.
"""

import io
import itertools
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clampdevice import replay
from clamptools.boards import read_board
from clamptools.interpreter import HEAP as DEVICE_HEAP
from clamptools.machines import MACHINES, Truth, board_of, scenario
from clampwire import messages, values
from support.micropython import need_micropython, run_micropython
from support.skips import ROOT

START_US = 12_345_678
SECONDS = 60
REPLAY = ROOT / "device/clampdevice/replay.py"

DRIVER = """
import json
import sys

from clampdevice import board
from clampdevice.hal.sim.sources import make_sources
from clampdevice.measure import Measurement

with open(sys.argv[1] + "/board.json") as file:
    config = board.check(json.load(file))
with open(sys.argv[1] + "/scenario.json") as file:
    sources = make_sources(config, json.load(file))
start_us, seconds = int(sys.argv[2]), int(sys.argv[3])
measure = Measurement(config, sources)
measure.on_record = lambda *fields: print(json.dumps(["record", fields]))
measure.on_event = lambda *fields: print(json.dumps(["event", fields]))
measure.on_overrun = lambda *fields: print(json.dumps(["overrun", fields]))
describes = [channel.describe() for channel in measure.channels]
print(json.dumps(["describe", [[d[0], d[1], d[5], d[9]] for d in describes]]))
measure.start(start_us)
now_us = start_us
while now_us < start_us + 1000000 * seconds + 100000:
    now_us += 20000
    while measure.poll(now_us):
        pass
print(json.dumps(["temperature", measure.temperature_c]))
"""


class Run:
    """A simulated device, run to its end: channels, records by key and feature, events."""

    def __init__(self, folder: Path, machine: str, seed: int) -> None:
        self.board = read_board(board_of(machine))
        self.scenario = scenario(machine, seed)
        self.truth = Truth(self.scenario, self.board)
        (folder / "board.json").write_text(json.dumps(self.board))
        (folder / "scenario.json").write_text(json.dumps(self.scenario))
        driver = folder / "driver.py"
        driver.write_text(DRIVER)
        arguments = (str(folder), str(START_US), str(SECONDS))
        done = run_micropython(driver, *arguments, heap=DEVICE_HEAP)
        assert done.returncode == 0, done.output
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.channels = next(fields for kind, fields in lines if kind == "describe")
        self.events = [fields for kind, fields in lines if kind == "event"]
        self.overruns = [fields for kind, fields in lines if kind == "overrun"]
        self.temperature_c = lines[-1][1]
        layout = tuple(tuple(f[2:]) for channel in self.channels for f in channel[3])
        self.records: list[tuple[int, list[int], dict[tuple[str, str], Any]]] = []
        for kind, fields in lines:
            if kind == "record":
                end_ms, windows, flags, numbers = fields
                assert windows == 5
                sent = iter(
                    values.unpack_values(layout, values.pack_values(layout, tuple(numbers)))
                )
                named = {(c[0], f[0]): next(sent) for c in self.channels for f in c[3]}
                self.records.append((end_ms, flags, named))

    def frames(self, channel: str, end_ms: int) -> tuple[int, int]:
        span = self.truth.span(channel, end_ms, START_US)
        return span.start, span.stop - span.start


@pytest.fixture(scope="module", params=[(m, s) for m in MACHINES for s in (1, 7)], ids=str)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("device"), *request.param)


def test_records_stand_on_the_grid_and_nothing_is_lost(run: Run) -> None:
    grid = [START_US // 1000 + 1000 * k for k in range(1, SECONDS + 1)]
    assert [end_ms for end_ms, _flags, _named in run.records] == grid
    assert not run.overruns
    assert all(flag & ~values.BELOW_FLOOR == 0 for _e, flags, _n in run.records for flag in flags)
    assert run.temperature_c == pytest.approx(run.scenario["temperature_c"], abs=0.5)


def test_rms_of_every_current(run: Run, report_line: Callable[[str], None]) -> None:
    worst, compared = 0.0, 0
    for key, quantity, full_scale, _features in run.channels:
        if quantity != "current":
            continue
        for end_ms, _flags, named in run.records:
            ideal = run.truth.rms(key, *run.frames(key, end_ms))
            told = named[key, "rms"]
            if ideal >= 0.02 * full_scale:
                compared += 1
                worst = max(worst, abs(told / ideal - 1) * 100)
            else:
                # Below that: absolute, and nothing invented where nothing flows.
                assert told == pytest.approx(ideal, abs=0.0025 * full_scale), (key, end_ms)
                assert ideal > 0 or told == 0
    report_line(f"{run.board['board']}: {compared} current RMS, largest error {worst:.3f} %")
    assert compared > 50
    assert worst < 0.2


def test_peaks_of_every_current(run: Run) -> None:
    for key, quantity, full_scale, _features in run.channels:
        if quantity == "current":
            for end_ms, _flags, named in run.records:
                ideal = run.truth.peak(key, *run.frames(key, end_ms))
                # Noise of 1 LSB adds up to 5 LSB to an extreme of thousands of samples.
                assert named[key, "peak"] == pytest.approx(ideal, abs=0.004 * full_scale)


def test_vibration(run: Run, report_line: Callable[[str], None]) -> None:
    changes = [t_s for t_s, _wave in run.truth.changes_s(SECONDS)]
    worst = {"a": 0.0, "v": 0.0}
    compared = 0
    for end_ms, _flags, named in run.records:
        first, n = run.frames("vibration1", end_ms)
        a = run.truth.acceleration_rms("vibration1", first, n)
        if a > 0.5:
            compared += 1
            worst["a"] = max(worst["a"], abs(named["vibration1", "a"] / a - 1) * 100)
        end_s = (end_ms * 1000 - START_US) / 1e6
        # The filter remembers a jump of the level for some tenths of a second.
        if any(end_s - 2.0 < t_s < end_s for t_s in changes):
            continue
        for axis in "xyz":
            ideal = run.truth.velocity_rms("vibration1", axis, first, n)
            if ideal > 1.0:
                told = named["vibration1", f"v_{axis}"]
                worst["v"] = max(worst["v"], abs(told / ideal - 1) * 100)
    report_line(
        f"{run.board['board']}: {compared} accelerations, largest error {worst['a']:.2f} %, "
        f"velocity {worst['v']:.2f} %"
    )
    assert compared > 10
    assert worst["a"] < 1.0
    assert worst["v"] < 2.0


def test_states_follow_the_machine(run: Run) -> None:
    names = dict(messages.MACHINE_STATES)
    state_kind = messages.code_of(messages.EVENT_KINDS, "state")
    told = [
        ((at_ms * 1000 - START_US) / 1e6, names[value])
        for at_ms, _channel, kind, value, _text in run.events
        if kind == state_kind
    ]
    meant = {
        "off": "off", "standby": "idle", "spindle": "idle", "idle": "idle", "rest": "idle",
        "cut": "working", "burn": "working", "print": "working",
    }  # fmt: skip
    checked = 0
    phases = run.truth.changes_s(SECONDS)
    for (begin_s, wave), (end_s, _next) in itertools.pairwise(phases):
        if wave not in meant or end_s - begin_s < 1.5:
            continue
        # Where a phase ends, its state has been found: from a window that began near its start.
        current = [state for at_s, state in told if at_s < end_s - 0.4]
        assert current[-1] == meant[wave], (wave, begin_s, end_s, told)
        checked += 1
    assert checked > 8


def test_contacts_are_told_at_their_millisecond(run: Run) -> None:
    input_kind = messages.code_of(messages.EVENT_KINDS, "input")
    told = [(e[0], e[3]) for e in run.events if e[2] == input_kind]
    expected: list[tuple[int, int]] = []
    level, at_ms = 0, START_US / 1000
    while at_ms < START_US / 1000 + 1000 * SECONDS:
        for phase in run.scenario["timeline"]:
            if phase["inputs"]["input1"] != level:
                level = phase["inputs"]["input1"]
                expected.append((int(at_ms), level))
            at_ms += phase["ms"]
    assert told == expected[: len(told)]
    assert len(told) >= 2


@pytest.mark.parametrize("micropython", [True, False], ids=["micropython", "cpython"])
def test_cost_of_a_device(
    tmp_path: Path, report_line: Callable[[str], None], micropython: bool
) -> None:
    # The lathe: 25,600 samples/s of the ADC and 9,600 of the accelerometer, made and measured.
    seconds = 30
    (tmp_path / "board.json").write_text(json.dumps(read_board("sim-lathe")))
    (tmp_path / "scenario.json").write_text(json.dumps(scenario("lathe", 1)))
    (tmp_path / "driver.py").write_text(DRIVER)
    arguments = [str(tmp_path / "driver.py"), str(tmp_path), "0", str(seconds)]
    program = (
        [need_micropython(), "-X", f"heapsize={DEVICE_HEAP}"] if micropython else [sys.executable]
    )
    device = str(ROOT / "device")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        program + arguments,
        env={"MICROPYPATH": f"{device}:.frozen", "PYTHONPATH": device},
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=100,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    share = used_s / seconds * 100
    name = "MicroPython" if micropython else "CPython"
    report_line(f"sim-lathe in real time under {name}: {share:.1f} % of one core")
    assert share < (15 if micropython else 60)


def _play(x: np.ndarray, job: dict[str, Any]) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    replay.run(job, io.BytesIO(np.asarray(x, "<f4").tobytes()), lines.append)
    return lines


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    from support.skips import shared_path

    return json.loads((shared_path() / "data/reference.json").read_text())["files"]


def _data(name: str) -> Any:  # noqa: ANN401 - numpy's archive
    from support.skips import shared_path

    return np.load(shared_path() / f"data/{name}.npz")


def test_recorded_motor_current(
    reference: dict[str, Any], report_line: Callable[[str], None]
) -> None:
    data = _data("itsc_motor3ph_1khz")
    worst = {"rms": 0.0, "peak": 0.0}
    for name, columns in reference["itsc_motor3ph_1khz"]["channels"].items():
        for phase, letter in enumerate("ABC"):
            windows = columns[f"rep1_phase{letter}"]["windows_12cycle_200ms"]
            _total, rms_at, peak_at = (
                windows["columns"].index(c) for c in ("rms_total", "rms_ac", "peak_ac")
            )
            job = {"kind": "current", "rate_hz": 1000.0, "full_scale": 5.0}
            lines = _play(data[name][0, :, phase], job)
            assert len(lines) == len(windows["rows"])
            for line, row in zip(lines, windows["rows"], strict=True):
                worst["rms"] = max(worst["rms"], abs(line["rms"] / row[rms_at] - 1) * 100)
                worst["peak"] = max(worst["peak"], abs(line["peak"] / row[peak_at] - 1) * 100)
                assert line["clipped"] == 0
    report_line(f"itsc_motor3ph_1khz: RMS within {worst['rms']:.4f} % of the reference")
    assert worst["rms"] < 0.5
    assert worst["peak"] < 0.5


@pytest.mark.parametrize(
    ("name", "sensor", "axis", "bits"),
    [
        ("endaq_ssx66115_shaker100hz", "mems", 0, 16),
        ("endaq_ssx66115_shaker100hz", "mems", 0, 13),
        ("endaq_ssx66115_shaker100hz", "piezo", 0, 16),
        ("endaq_ssx70065_adxl345_shaker100hz", "mems", 1, 13),
    ],
)
def test_recorded_vibration(
    reference: dict[str, Any],
    report_line: Callable[[str], None],
    name: str,
    sensor: str,
    axis: int,
    bits: int,
) -> None:
    data = _data(name)
    steady = reference[name]["channels"][sensor]["steady"]
    rate_hz = float(data[f"{sensor}_fs"])
    job = {"kind": "vibration", "rate_hz": rate_hz, "full_scale": 16, "bits": bits}
    lines = _play(data[sensor][:, axis], job)
    first, end = (sample / rate_hz for sample in steady["samples"])
    inside = [line for line in lines if first + 0.2 <= line["t"] <= end]
    assert len(inside) > 5
    rms = np.sqrt(np.mean([line["rms"] ** 2 for line in inside]))
    velocity = np.sqrt(np.mean([line["velocity_rms_mm_s"] ** 2 for line in inside]))
    kurtosis = np.mean([line["kurtosis"] for line in inside])
    errors = {
        "rms": rms / steady["rms_ac"] - 1,
        "velocity": velocity / steady["velocity_rms_mm_s_analytic"] - 1,
        "kurtosis": kurtosis / steady["kurtosis"] - 1,
    }
    told = ", ".join(f"{key} {100 * error:+.3f} %" for key, error in errors.items())
    report_line(f"{name} {sensor}, {bits} bit: {told}")
    assert abs(errors["rms"]) < 0.005
    assert abs(errors["velocity"]) < 0.02
    assert abs(errors["kurtosis"]) < 0.01
    for line in inside:
        assert abs(line["rms"] / steady["rms_ac"] - 1) < 0.005


def test_a_sensor_at_rest_is_quiet(reference: dict[str, Any]) -> None:
    data = _data("endaq_xs5e25d40_noisefloor")
    for sensor in ("piezo", "mems"):
        rate_hz = float(data[f"{sensor}_fs"])
        for column, axis in enumerate("XYZ"):
            x = data[sensor][:, column]
            job = {"kind": "vibration", "rate_hz": rate_hz, "full_scale": 16, "bits": 16}
            lines = _play(x, job)
            ends = [int(line["t"] * rate_hz + 0.5) for line in lines]
            for line, end in zip(lines, ends, strict=True):
                # The converter's rounding adds 1/12 LSB**2, and may hide what is smaller.
                lsb = 16 / 32768
                ideal = np.sqrt(np.var(x[end - round(0.2 * rate_hz) : end]) + lsb**2 / 12)
                assert line["rms"] == pytest.approx(ideal, rel=0.05, abs=0.3 * lsb), (sensor, axis)


def test_the_script_under_micropython_says_the_same(tmp_path: Path) -> None:
    rate_hz = 1600.0
    t = np.arange(1800) / rate_hz
    x = 0.98 + 2.5 * np.sin(2 * np.pi * 97.3 * t) + 0.7 * np.sin(2 * np.pi * 311 * t)
    (tmp_path / "x.f32").write_bytes(x.astype("<f4").tobytes())
    job = {
        "kind": "vibration",
        "rate_hz": rate_hz,
        "full_scale": 8,
        "file": str(tmp_path / "x.f32"),
        "noise_lsb": 0.7,
        "seed": 3,
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = run_micropython(REPLAY, str(tmp_path / "job.json"))
    assert done.returncode == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    here = _play(x, job)
    assert len(lines) == len(here) == 5
    for line, other in zip(lines, here, strict=True):
        assert line == pytest.approx(other)


def test_the_script_refuses_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text('{"kind": "current", "rate_hz": 5, "file": "none.f32"}')
    done = run_micropython(REPLAY, str(tmp_path / "job.json"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "none.f32" in done.output or "ENOENT" in done.output
