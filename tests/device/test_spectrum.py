"""Bands, dominant lines, peak to peak, ratio and zone, from waves of known truth."""

import math
from array import array

from clampdevice import board, kernels, powers
from clampdevice.baseline import WINDOWS, Baseline
from clampdevice.feature import STANDARD_GRAVITY_M_S2
from clampdevice.judges import Status
from clampdevice.severity import problems_of, zone
from clampdevice.spectrum import octaves
from clampdevice.vibration import VibrationChannel

G = STANDARD_GRAVITY_M_S2
FINE = {"bits": 16, "lsb_per_g": 4096, "slots": 1}
BANDS = [[10, 100], [100, 400], [400, 1600]]


class Source:
    slots = 1
    rate_hz = 3200.0

    def temperature_c(self) -> float:
        return 31.5


def _channel(features: list, **extra: object) -> VibrationChannel:
    config: dict = {"key": "vibration1", "quantity": "vibration", "axes": "x"}
    config["features"] = features
    config.update(extra)
    return VibrationChannel(config, FINE, Source(), kernels)


def _feed(channel: VibrationChannel, lines: tuple, windows: int = 5, start: int = 0) -> int:
    """Windows of a sum of lines (Hz, amplitude in m/s2) on gravity; returns the next frame."""
    frames = 640
    buf = array("H", bytes(2 * frames))
    at = start
    for _ in range(windows):
        for i in range(frames):
            t = (at + i) / 3200.0
            x = G
            for hz, amplitude in lines:
                x += amplitude * math.sin(2 * math.pi * hz * t)
            code = int(x * 4096 / G + 0.5)
            buf[i] = 0x8000 + min(0x7FFF, max(-0x8000, code))
        at += frames
        channel.add(buf, 0, frames)
        channel.close(False)
    return at


def _one(channel: VibrationChannel) -> dict:
    _flags, values = channel.record()
    return {feature[0]: value for feature, value in zip(channel.describe()[-1], values)}


def test_bands_hold_the_lines_in_them():
    features = ["band1", "band2", "band3", "band1_x", "band4"]
    channel = _channel(features, bands=BANDS)
    lines = ((50, 3.0), (77, 1.0), (250, 2.0), (901.3, 5.0))
    _feed(channel, lines)
    values = _one(channel)
    for key, true in (
        ("band1", math.sqrt((9 + 1) / 2)),
        ("band2", 2 / math.sqrt(2)),
        ("band3", 5 / math.sqrt(2)),
    ):
        assert abs(values[key] / true - 1) < 0.01, (key, values[key], true)
    assert values["band1_x"] == values["band1"]
    assert values["band4"] is None  # three bands were asked for


def test_bands_add_up_to_the_whole():
    channel = _channel(["a"] + ["band" + str(n) for n in range(1, 9)])
    _feed(channel, ((17, 2.0), (233, 3.0), (811, 1.5)))
    values = _one(channel)
    assert len(octaves(3200.0)) == 8 and octaves(3200.0)[-1] == (800.0, 1600.0)
    total = math.sqrt(sum(values["band" + str(n)] ** 2 for n in range(1, 9)))
    assert abs(total / values["a"] - 1) < 0.01, (total, values)


def test_the_dominant_line_between_bins():
    for hz in (20.0, 48.9, 50.0, 51.3, 121.77, 502.2, 1402.9):
        channel = _channel(["frequency_x", "fa_x"])
        _feed(channel, ((hz, 4.0), (hz + 97, 0.4)))
        values = _one(channel)
        assert abs(values["frequency_x"] - hz) < 0.15, (hz, values)
        assert abs(values["fa_x"] / 4.0 - 1) < 0.02, (hz, values)


def _noise(channel: VibrationChannel, sigma_lsb: float, windows: int) -> None:
    state = 12345
    buf = array("H", bytes(2 * 640))
    for _ in range(windows):
        for i in range(640):
            total = 0
            for _k in range(12):
                state = (state * 1103515245 + 12345) & 0x3FFFFFFF
                total += state >> 14
            buf[i] = 0x8000 + int((total / 65536 - 6) * sigma_lsb + 0.5)
        channel.add(buf, 0, 640)
        channel.close(False)


def test_noise_has_no_line_and_empty_bands():
    sigma_lsb = 40.0
    floor = sigma_lsb * G / 4096
    features = ["a", "frequency_x", "fa_x", "band1", "band2", "band3"]
    channel = _channel(features, bands=BANDS, noise_floor=floor)
    _noise(channel, sigma_lsb, 5)
    values = _one(channel)
    assert values["frequency_x"] is None and values["fa_x"] is None
    assert values["band1"] < 0.5 * floor and values["band3"] < 0.8 * floor, (values, floor)
    quiet = _channel(features, bands=BANDS)  # a floor nobody knows is not taken off
    _noise(quiet, sigma_lsb, 5)
    true = floor * math.sqrt(1200 / 1600)
    assert abs(_one(quiet)["band3"] / true - 1) < 0.1


def test_no_block_no_spectrum():
    channel = _channel(["frequency_x", "band1"], spectrum_points=2048)
    _feed(channel, ((50, 3.0),), 2)  # 0.4 s of the 0.64 that a block needs
    assert _one(channel) == {"frequency_x": None, "band1": None}
    _feed(channel, ((50, 3.0),), 5)
    assert _one(channel)["frequency_x"] is not None


def test_a_gap_drops_the_block_begun():
    channel = _channel(["frequency_x"])
    end = _feed(channel, ((50, 3.0),), 1)
    channel.close(True)
    _feed(channel, ((50, 3.0),), 2, start=end + 333)
    hz = _one(channel)["frequency_x"]
    assert abs(hz - 50) < 0.15


def test_peak_to_peak_clipped_and_temperature():
    channel = _channel(["peak_x", "pp_x", "clipped", "temperature"])
    _feed(channel, ((50, 6.0),))
    values = _one(channel)
    assert abs(values["pp_x"] - 12.0) < 0.02 and abs(values["peak_x"] - 6.0) < 0.02
    assert values["clipped"] == 0 and values["temperature"] == 31.5
    _feed(channel, ((50, 70.0),))  # beyond 8 g with gravity
    assert _one(channel)["clipped"] > 100
    channel.close(True)
    assert _one(channel)["pp_x"] is None


def test_powers_are_summed_beyond_31_bits():
    out = array("I", [0xFFFFFFFF, 1, 0x80000000, 0x7FFFFFFF, 0xFFFFFFFE])
    for add, most in (
        (powers.add_powers, powers.largest),
        (powers.plain_add_powers, powers.plain_largest),
    ):
        halves = array("I", [0, 0])
        add(out, 0, 5, halves)
        add(out, 1, 2, halves)
        assert halves[0] + (halves[1] << 16) == sum(out) + 1
        assert most(out, 0, 5) == 0
        assert most(out, 1, 5) == 4
        assert most(out, 1, 4) == 2


class Files:
    def __init__(self) -> None:
        self.files: dict = {}
        self.broken = False

    def read_file(self, name: str) -> bytes:
        return self.files.get(name, b"")

    def write_file(self, name: str, data: bytes) -> None:
        if self.broken:
            raise OSError(28)
        self.files[name] = bytes(data)


def _near(value: float | None, true: float) -> bool:
    return value is not None and abs(value - true) < 1e-5


def test_the_baseline_is_learned_at_work_and_stays():
    files = Files()
    baseline = Baseline("vibration1", files)
    for k in range(WINDOWS):
        assert baseline.level is None
        assert baseline.take_record() is None
        baseline.take(2.0 if k % 2 else 4.5)
    assert _near(baseline.level, 3.0)
    baseline.take_record()
    baseline.take(None)
    baseline.take(0.0)  # below the noise
    assert baseline.take_record() is None
    for _ in range(1000):
        baseline.take(12.0)
    assert _near(baseline.take_record(), 4.0)
    assert _near(baseline.level, 3.0)
    assert baseline.keep(1)
    assert not baseline.keep(90000000)
    again = Baseline("vibration1", files)
    assert _near(again.level, 3.0)
    assert Baseline("vibration2", files).windows == 0
    again.forget()
    assert Baseline("vibration1", files).windows == 0


class Current:
    key = "current1"
    config: dict = {}
    level = 9.0

    def describe(self) -> tuple:
        return ("current1", "current", "A", "", 0.0, 50.0, 0.02)


def test_the_ratio_counts_windows_of_work_alone():
    channel = _channel(["a", "ratio"])
    current = Current()
    state = {
        "on": {"channels": ["current1"], "above": 0.5},
        "working": [{"channels": ["current1"], "above": 4.0}],
    }
    status = Status(state, (current, channel), Files())
    at_us = 0

    def windows(count: int, a: float, level: float) -> float | None:
        nonlocal at_us
        current.level = a
        for _ in range(count):
            channel.level = level
            status.window(at_us, at_us + 200000)
            at_us += 200000
        assert channel.extra is not None and channel.extra.baseline is not None
        return channel.extra.baseline.take_record()

    windows(10, 1.0, 0.3)
    assert status.why()["baselines"] == [
        {"of": "vibration1", "level": None, "learning": [0, WINDOWS], "failed_saves": 0}
    ]
    assert windows(WINDOWS + 1, 9.0, 2.0) is not None
    windows(10, 1.0, 0.3)
    assert windows(5, 1.0, 0.3) is None
    windows(5, 9.0, 2.0)
    ratio = windows(5, 9.0, 5.0)
    assert ratio is not None and abs(ratio - 2.5) < 0.01
    assert abs(status.why()["baselines"][0]["level"] - 2.0) < 0.01


def test_a_baseline_that_cannot_be_kept_waits_a_minute_and_is_counted():
    files = Files()
    files.broken = True
    baseline = Baseline("vibration1", files)
    for _ in range(WINDOWS):
        baseline.take(2.0)
    for second in range(1, 121):
        assert not baseline.keep(1000000 * second)
    assert baseline.failed_saves == 2
    files.broken = False
    assert baseline.keep(121000000) and baseline.failed_saves == 2


def test_zones_only_of_a_declared_machine():
    declared = {
        "power_kw": 22, "group": 2, "mounting": "rigid", "limits_mm_s": [1.0, 2.0, 4.0],
    }  # fmt: skip
    assert problems_of(declared) == []
    assert [zone([v, 0.1, None], [1.0, 2.0, 4.0]) for v in (0.5, 1.5, 3.0, 9.0)] == [1, 2, 3, 4]
    assert zone([None], [1.0, 2.0, 4.0]) is None
    for key, value, says in (
        ("power_kw", 7.5, "above 15 kW"),
        ("power_kw", None, "power_kw"),
        ("group", 3, "group"),
        ("mounting", "soft", "mounting"),
        ("limits_mm_s", [1.0, 2.0], "three"),
        ("limits_mm_s", [2.0, 1.0, 4.0], "rising"),
    ):
        wrong = dict(declared)
        wrong[key] = value
        assert says in problems_of(wrong)[0], (key, value)
    channel = _channel(["zone"], severity=declared)
    end = _feed(channel, ((50, 1.0),), 10)
    channel.record()
    _feed(channel, ((50, 1.0),), 5, start=end)  # 2.25 mm/s
    assert _one(channel)["zone"] == 3


def test_the_board_is_checked():
    part: dict = {
        "board": "t", "chip": "sim", "name": "t",
        "sources": {"accelerometer": {"rate_hz": 3200, "slots": 1, "bits": 16, "lsb_per_g": 4096}},
    }  # fmt: skip
    for extra, says in (
        ({"features": ["zone"]}, "zone needs severity"),
        ({"features": ["bnd1"]}, "bnd1"),
        ({"bands": [[5, 1]]}, "bands"),
        ({"spectrum_points": 1000}, "spectrum_points"),
        ({"severity": {"power_kw": 5}}, "above 15 kW"),
    ):
        channel: dict = {"key": "vibration1", "quantity": "vibration", "axes": "x"}
        channel.update(extra)
        part["channels"] = [channel]
        try:
            board.check(part)
        except board.BoardError as error:
            assert says in str(error), (says, str(error))
        else:
            raise AssertionError(says)


def test_the_compiled_loops_are_taken_where_there_are_any():
    plain = powers.add_powers is powers.plain_add_powers
    assert plain == (kernels.FORM == "reference")
