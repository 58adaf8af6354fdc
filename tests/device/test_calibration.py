"""Calibration by command: what is let in, what it does, and that it is kept as a whole."""

import json
import math
from array import array

from clampdevice import kernels
from clampdevice.calibration import FILE, Calibration, CalibrationStore, interpolate
from clampdevice.calibrationcheck import CalibrationError, check
from clampdevice.commands import BAD, FAILED, OK, Commands
from clampdevice.current import CurrentChannel
from clampdevice.service import Service, date_of

ADC = {"bits": 12, "vref_v": 3.3, "slots": 1, "zero_lsb": 2070}
CONFIG = {"key": "current1", "quantity": "current", "slot": 0, "a_per_v": 30, "rated_a": 30}
A_PER_LSB = 30 * 3.3 / 4096


class Source:
    rate_hz = 6400.0
    slots = 1


class Files:
    def __init__(self) -> None:
        self.data: dict = {}
        self.broken = False

    def read_file(self, name: str) -> bytes:
        return self.data.get(name, b"")

    def write_file(self, name: str, data: bytes) -> None:
        if self.broken:
            raise OSError(28)
        self.data[name] = data


class Clock:
    utc = 1763750000123

    def utc_ms(self) -> int:
        return self.utc


class Bench:
    """One channel with its service and a store."""

    def __init__(self, files: Files | None = None) -> None:
        self.files = files or Files()
        self.store = CalibrationStore(self.files)
        self.channel = CurrentChannel(CONFIG, ADC, Source(), kernels)
        self.channel.calibrate(self.store.get("current1"))
        self.described: list = []
        self.collisions = 0
        service = Service((self.channel,), None, self.store, Clock(), self._changed)
        self.commands = Commands(
            tuple(
                (name, getattr(service, name))
                for name in ("calibrate", "calibration", "measure_floor", "counters")
            )
        )

    def _changed(self) -> bool:
        self.described.append(self.channel.describe())
        self.collisions -= 1
        return self.collisions < 0

    def feed(self, amps: float, windows: int = 5) -> float:
        """RMS of a record of a square wave."""
        half = round(amps / A_PER_LSB)
        buf = array("H", [2070 - half, 2070 + half] * 640)
        for _ in range(windows):
            self.channel.add(buf, 0, 1280)
            self.channel.close(False)
        rms = self.channel.record()[1][0]
        assert rms is not None
        return rms

    def run(self, name: str, args: dict, status: int = OK) -> dict:
        got, body = self.commands.run(name, json.dumps(args).encode())
        assert got == status, (got, body)
        return body

    def calibrate(self, status: int = OK, **args: object) -> dict:
        args["channel"] = "current1"
        return self.run("calibrate", args, status)


def test_lines_between_points():
    points = ((1.0, 2.0), (3.0, 4.0), (4.0, 0.0))
    cases = ((0.0, 2.0), (1.0, 2.0), (2.0, 3.0), (3.0, 4.0), (3.5, 2.0), (9.0, 0.0))
    for x, y in cases:
        assert interpolate(points, x) == y
    assert interpolate(((0.0, 5.0),), 7.0) == 5.0


def test_the_present_reading_against_a_meter():
    bench = Bench()
    reading = bench.feed(5.0)
    told = bench.calibrate(reference_value=5.2, reference="meter 7", uncertainty_pct=1.0)
    assert told["date"] == "2025-11-21"
    assert abs(told["gain"] - 5.2 / reading) < 1e-6
    assert told["id"].startswith("c-")
    assert abs(bench.feed(5.0) - 5.2) < 1e-5
    describe = bench.described[-1]
    assert describe[8] == told["id"]
    assert abs(describe[7] - 1.0) < 0.05  # the scale's 1 %, and next to nothing beside it


def test_more_points_make_lines():
    bench = Bench()
    points = ((2.0, 2.1), (10.0, 10.1), (20.0, 19.6))
    told: dict = {}
    for amps, true in points:
        bench.feed(amps)
        told = bench.calibrate(reference_value=true, add=True)
    assert len(told["points"]) == 3
    assert "gain" not in told
    for amps, true in points:
        assert abs(bench.feed(amps) - true) < 0.001
    between = bench.feed(15.0)
    reading = bench.channel.reading
    assert reading is not None
    want = reading * ((10.1 / 10 + 19.6 / 20) / 2)
    assert abs(between - want) < 0.01
    # The same place again replaces its point.
    bench.feed(10.0)
    assert len(bench.calibrate(reference_value=10.2, add=True)["points"]) == 3
    assert abs(bench.feed(10.0) - 10.2) < 0.001


def test_a_gain_beyond_20_percent_needs_a_word():
    bench = Bench()
    before = bench.feed(5.0)
    refusal = bench.calibrate(BAD, gain=1.25)
    assert "20 %" in refusal["error"]
    assert "confirm" in refusal["error"]
    assert bench.feed(5.0) == before
    assert not bench.described
    assert not bench.files.data
    bench.calibrate(gain=2.0, confirm=True)
    assert abs(bench.feed(5.0) - 2 * before) < 1e-5
    # A reading that would not fit its step gets a wider one.
    step = {feature[0]: feature[3] * 10.0 ** feature[4] for feature in bench.described[-1][9]}
    assert step["rms"] * 65534 > 2048 * A_PER_LSB * 1.6


def test_a_usual_gain_keeps_the_steps():
    bench = Bench()
    layout = bench.channel.describe()[9]
    bench.calibrate(gain=1.19)
    assert bench.described[-1][9] == layout


def test_it_is_there_after_a_restart():
    bench = Bench()
    bench.calibrate(gain=1.1, phase_deg=[[1, 3.0], [10, 1.5]], offset=0.25, date="2026-01-02")
    again = Bench(bench.files)
    assert abs(again.feed(5.0) / bench.feed(5.0) - 1) < 1e-9
    calibration = again.channel.calibration
    assert calibration.date == "2026-01-02"
    assert calibration.phase_deg(0.1) == 3.0
    assert abs(calibration.phase_deg(5.5) - 2.25) < 1e-6
    assert calibration.offset == 0.25
    again.calibrate(clear=True)
    assert Bench(bench.files).channel.calibration.record == {}


def test_what_could_not_be_kept_is_not_applied():
    bench = Bench()
    before = bench.feed(5.0)
    bench.files.broken = True
    bench.calibrate(FAILED, gain=1.1)
    assert bench.feed(5.0) == before
    assert not bench.described


def test_a_torn_file_measures_on_at_the_nominal_scale():
    bench = Bench()
    bench.calibrate(gain=1.1)
    whole = bench.files.data[FILE]
    for broken in (whole[: len(whole) // 2], b"\xff\xff", b"[1]", b'{"current1": 7}'):
        bench.files.data[FILE] = broken
        again = Bench(bench.files)
        assert again.channel.calibration.record == {}
        assert FILE in again.run("calibration", {"channel": "current1"})["problem"]


def test_descriptions_that_share_a_number_get_another_id():
    bench = Bench()
    bench.collisions = 2
    told = bench.calibrate(gain=1.1)
    assert told["id"].endswith("''")
    assert Bench(bench.files).channel.calibration.id == told["id"]


def test_refusals_say_why():
    bench = Bench()
    cases = (
        ({"gain": "x"}, "gain"),
        ({"gain": 0}, "gain"),
        ({"gain": True}, "gain"),
        ({"ratio": 2}, "ratio"),
        ({"gain": 1, "points": [[1, 1]]}, "keep one"),
        ({"points": []}, "1 to 8"),
        ({"points": [[2, 2], [1, 1]]}, "rise"),
        ({"points": [[0, 1]]}, "above 0"),
        ({"points": [[1]]}, "pair"),
        ({"phase_deg": 45}, "-30 to 30"),
        ({"phase_deg": "x"}, "pairs"),
        ({"date": "21.11.2026"}, "YYYY"),
        ({"reference": "x" * 40}, "32"),
        ({"uncertainty_pct": -1}, "uncertainty_pct"),
        ({"reference_value": 0}, "above 0"),
        ({"reference_value": 5}, "reads nothing"),
    )
    for args, says in cases:
        refusal = bench.calibrate(BAD, **args)
        assert says in refusal["error"], (args, refusal)
    refusal = bench.run("calibrate", {"channel": "volts", "gain": 1}, BAD)
    assert "current1" in refusal["error"]
    assert not bench.files.data


def test_a_neutral_record_changes_nothing():
    check({})
    calibration = Calibration()
    assert calibration.factor(3.0) == 1.0
    assert calibration.phase_deg(3.0) == 0.0
    assert not calibration.scales
    try:
        check({"gain": 1.3})
    except CalibrationError as error:
        assert "1.3" in str(error)
    else:
        raise AssertionError("taken")


def test_dates():
    for utc_ms, text in (
        (0, ""),
        (1, "1970-01-01"),
        (951782400000, "2000-02-29"),
        (951868800000, "2000-03-01"),
        (1767225599999, "2025-12-31"),
        (1767225600000, "2026-01-01"),
        (4107542400000, "2100-03-01"),
    ):
        assert date_of(utc_ms) == text, utc_ms


def _noise(i: int) -> float:
    """Uniform, RMS 1."""
    x = (i * 2654435761) & 0xFFFFFFFF
    x = ((x >> 16) ^ x) * 0x45D9F3B & 0xFFFFFFFF
    x ^= x >> 15
    return ((x & 0xFFFF) / 65535 - 0.5) * math.sqrt(12)


def _quiet(bench: Bench, rms_lsb: float, windows: int, hum=None) -> None:
    at = 0
    for window in range(windows):
        extra = hum(window) if hum else 0
        buf = array("H")
        for i in range(1280):
            code = 2070 + rms_lsb * _noise(at) + extra * math.sin(i / 8)
            buf.append(math.floor(code + 0.5))
            at += 1
        bench.channel.add(buf, 0, 1280)
        bench.channel.close(False)
    bench.channel.record()


def test_the_floor_is_measured_with_nothing_running():
    bench = Bench()
    _quiet(bench, 2.0, 4)
    assert "needed" in bench.run("measure_floor", {"channel": "current1"}, BAD)["error"]
    _quiet(bench, 2.0, 21)
    told = bench.run("measure_floor", {"channel": "current1"})
    want = math.sqrt(4 + 1 / 12) * A_PER_LSB
    assert abs(told["floor"] / want - 1) < 0.03
    assert told["before"] == 0
    assert abs(bench.described[-1][6] - told["floor"]) < 1e-9
    _quiet(bench, 2.0, 5)
    assert bench.channel.value == 0.0
    assert Bench(bench.files).channel.floor == told["floor"]


def test_a_running_machine_is_no_floor():
    bench = Bench()
    _quiet(bench, 2.0, 25, lambda window: 300)
    assert "no noise" in bench.run("measure_floor", {"channel": "current1"}, BAD)["error"]
    bench = Bench()
    _quiet(bench, 2.0, 25, lambda window: 10 if window > 12 else 0)
    assert "not steady" in bench.run("measure_floor", {"channel": "current1"}, BAD)["error"]
    assert not bench.files.data
