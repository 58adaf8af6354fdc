"""Acceleration without gravity, velocity and kurtosis, from sines of known truth."""

import math
from array import array

from clampdevice import kernels
from clampdevice.feature import STANDARD_GRAVITY_M_S2
from clampdevice.vibration import VibrationChannel, _velocity_of_noise
from clampwire.values import BELOW_FLOOR, CLIPPED, GAP

G = STANDARD_GRAVITY_M_S2
ADXL = {"bits": 13, "lsb_per_g": 256, "slots": 3}
FINE = {"bits": 16, "lsb_per_g": 4096, "slots": 3}


class Source:
    slots = 3

    def __init__(self, rate_hz: float = 3200.0) -> None:
        self.rate_hz = rate_hz


def _channel(chip: dict = FINE, rate_hz: float = 3200.0, **extra: object) -> VibrationChannel:
    config: dict = {"key": "vibration1", "quantity": "vibration"}
    config.update(extra)
    return VibrationChannel(config, chip, Source(rate_hz), kernels)


def _feed(
    channel: VibrationChannel,
    signals: tuple,
    windows: int = 10,
    sensor: dict = FINE,
    start: int = 0,
) -> int:
    """Windows of three functions of time in m/s2, through an ideal converter; the next frame."""
    rate_hz = channel.describe()[4]
    half = 1 << (sensor["bits"] - 1)
    frames = round(rate_hz / 5)
    buf = array("H", bytes(6 * frames))
    frame = start
    for _ in range(windows):
        for i in range(frames):
            for axis in range(3):
                code = math.floor(signals[axis](frame / rate_hz) * sensor["lsb_per_g"] / G + 0.5)
                buf[3 * i + axis] = 0x8000 + min(half - 1, max(-half, code))
            frame += 1
        channel.add(buf, 0, frames)
        channel.close(False)
    return frame


def _sine(hz: float, rms: float, offset: float = 0.0):
    w = 2 * math.pi * hz
    return lambda t: offset + math.sqrt(2) * rms * math.sin(w * t + 0.3)


def _still(value: float):
    return lambda _t: value


def _one(channel: VibrationChannel) -> tuple:
    flags, values = channel.record()
    return flags, {feature[0]: value for feature, value in zip(channel.describe()[-1], values)}


def test_gravity_is_no_vibration():
    channel = _channel(ADXL)
    _feed(channel, (_still(0.3), _still(-0.2), _still(G)), 5, ADXL)
    flags, values = _one(channel)
    assert values["a"] == 0.0
    assert flags == 0  # no floor is known, so nothing is below it


def test_the_vector_of_three_axes():
    channel = _channel(features=["a", "a_x", "a_y", "a_z", "mean_z", "peak_y"])
    _feed(channel, (_sine(60, 3.0), _sine(80, 4.0), _sine(35, 12.0, G)), 5)
    _flags, values = _one(channel)
    assert abs(values["a_x"] - 3.0) < 0.003
    assert abs(values["a_y"] - 4.0) < 0.004
    assert abs(values["a_z"] - 12.0) < 0.012
    assert abs(values["a"] - 13.0) < 0.013
    assert abs(values["mean_z"] - G) < 0.01
    assert abs(values["peak_y"] - 4 * math.sqrt(2)) < 0.02
    assert channel.level is not None
    assert abs(channel.level - 13.0) < 0.02


def test_velocity_from_10_to_1000_hz():
    for rate_hz, lines in ((3200.0, (10, 159.155, 1000)), (1600.0, (10, 40, 600))):
        channel = _channel(rate_hz=rate_hz)
        a = [2.0, 9.0, 30.0]
        signals = tuple(_sine(hz, rms) for hz, rms in zip(lines, a))
        end = _feed(channel, signals, 5)
        assert _one(channel)[1]["v_x"] is None  # the first second belongs to the filter
        _feed(channel, signals, 5, start=end)
        _flags, values = _one(channel)
        for axis, hz, rms in zip("xyz", lines, a):
            ideal = 1000 * rms / (2 * math.pi * hz)
            error = abs(values["v_" + axis] / ideal - 1)
            assert error < 0.02, (rate_hz, hz, values["v_" + axis], ideal)


def test_velocity_is_withheld_after_a_gap():
    channel = _channel()
    signals = (_sine(50, 5.0),) * 3
    end = _feed(channel, signals, 10)
    assert _one(channel)[1]["v_y"] is not None
    channel.close(True)
    _feed(channel, signals, 4, start=end + 777)
    flags, values = _one(channel)
    assert flags == GAP
    assert values["v_y"] is None
    assert abs(values["a"] - 5 * math.sqrt(3)) < 0.02
    _feed(channel, signals, 5, start=end + 777 + 4 * 640)
    flags, values = _one(channel)
    assert flags == 0
    assert abs(values["v_y"] / (5000 / (2 * math.pi * 50)) - 1) < 0.02


def test_kurtosis():
    channel = _channel(features=["kurtosis_x", "kurtosis_y", "kurtosis_z", "crest_x"])
    square = lambda t: 5.0 if int(t * 100) % 2 else -5.0  # noqa: E731

    def spikes(t: float) -> float:
        return 30.0 if int(t * 3200 + 0.5) % 160 == 0 else 0.0

    _feed(channel, (_sine(50, 4.0, 3.0), square, spikes), 5)
    _flags, values = _one(channel)
    assert abs(values["kurtosis_x"] - 1.5) < 0.01, values
    assert abs(values["kurtosis_y"] - 1.0) < 0.01
    p = 1 / 160  # of one value p, else 0: (1 - 3 p (1 - p)) / (p (1 - p))
    ideal = (1 - 3 * p * (1 - p)) / (p * (1 - p))
    assert abs(values["kurtosis_z"] / ideal - 1) < 0.01, (values, ideal)
    assert abs(values["crest_x"] - math.sqrt(2)) < 0.01
    window = channel.window_features()
    assert abs(window["kurtosis_x"] - 1.5) < 0.01
    assert abs(window["kurtosis_z"] / ideal - 1) < 0.01


def test_below_the_floor():
    channel = _channel(noise_floor=0.5, features=["a", "crest_x", "kurtosis_x", "v_x"])
    _feed(channel, (_sine(300, 0.4),) * 3, 10)
    flags, values = _one(channel)
    assert flags == BELOW_FLOOR
    assert values == {"a": 0.0, "crest_x": None, "kurtosis_x": None, "v_x": 0.0}
    assert abs(channel.describe()[6] - 0.5 * math.sqrt(3)) < 1e-6


def test_noise_is_taken_off_the_vector():
    floor = 0.5
    channel = _channel(noise_floor=floor)
    _feed(channel, (_sine(60, 3.0),) * 3, 5)
    _flags, values = _one(channel)
    assert abs(values["a"] - math.sqrt(3 * (9 - floor * floor))) < 0.01


def test_velocity_of_white_noise():
    # By the sum over the spectrum's lines of 0.1 Hz.
    sigma, rate_hz = 0.3, 3200.0
    total = 0.0
    for k in range(100, 10000):
        hz = 0.1 * k
        total += 2 * sigma * sigma / rate_hz * 0.1 / (2 * math.pi * hz) ** 2
    assert abs(_velocity_of_noise(sigma, rate_hz) / (1000 * math.sqrt(total)) - 1) < 0.02


def test_rails_are_clipped():
    channel = _channel(ADXL)
    _feed(channel, (_sine(50, 13 * G), _still(0.0), _still(G)), 5, ADXL)
    assert channel.record()[0] == CLIPPED
    assert channel.window_features()["clipped"] > 20


def test_one_axis_and_no_velocity():
    class One:
        slots = 1
        rate_hz = 100.0

    config = {"key": "v", "quantity": "vibration", "axes": "x", "features": ["a", "peak_x"]}
    channel = VibrationChannel(config, FINE, One(), kernels)
    buf = array("H", [0x8000 + (400 if i % 2 else -400) for i in range(20)])
    channel.add(buf, 0, 20)
    channel.close(False)
    _flags, values = channel.record()
    assert abs(values[0] - 400 / 4096 * G) < 0.001
    assert abs(values[1] - 400 / 4096 * G) < 0.001


def test_velocity_at_an_impossible_rate_is_refused():
    try:
        _channel(rate_hz=100.0)
    except ValueError as error:
        assert "100" in str(error)
    else:
        raise AssertionError("no ValueError")


def test_described():
    channel = _channel(ADXL, sensor="ADXL345")
    key, quantity, unit, sensor, rate_hz, full, _floor, _u, _c, features = channel.describe()
    assert (key, quantity, unit, sensor, rate_hz) == (
        "vibration1", "vibration", "m/s2", "ADXL345", 3200.0,
    )  # fmt: skip
    assert abs(full - 16 * G) < 0.001
    assert [(f[0], f[1]) for f in features] == [
        ("a", "m/s2"), ("v_x", "mm/s"), ("v_y", "mm/s"), ("v_z", "mm/s"),
    ]  # fmt: skip


def test_a_calibration_by_gravity_counts_in_every_feature():
    offset = [0.5, -0.25, 0.0]
    channel = _channel(
        features=["a", "a_x", "mean_x", "mean_y", "mean_z", "peak_y", "v_z", "pp_x", "fa_x"],
        gain=[1.02, 0.98, 1.0],
        offset_m_s2=offset,
    )
    plain = _channel(features=["a_x", "peak_y", "v_z", "mean_z", "pp_x", "fa_x"])
    signals = (_sine(60, 3.0, 0.5), _sine(80, 4.0, 2.0), _sine(35, 12.0, G))
    for one in (channel, plain):
        _feed(one, signals, 10)
    _flags, values = _one(channel)
    _flags, read = _one(plain)
    assert abs(values["a_x"] / read["a_x"] - 1.02) < 1e-5
    assert abs(values["pp_x"] / read["pp_x"] - 1.02) < 1e-5
    assert abs(values["fa_x"] / read["fa_x"] - 1.02) < 1e-5
    assert abs(values["peak_y"] / read["peak_y"] - 0.98) < 1e-5
    assert abs(values["v_z"] - read["v_z"]) < 1e-3
    assert abs(values["mean_x"]) < 0.003
    assert abs(values["mean_y"] - 2.25 * 0.98) < 0.003
    assert abs(values["mean_z"] - read["mean_z"]) < 1e-4
    vector = math.sqrt((1.02 * 3.0) ** 2 + (0.98 * 4.0) ** 2 + 144)
    assert abs(values["a"] / vector - 1) < 1e-3
    assert abs((channel.level or 0.0) / vector - 1) < 1e-3
    try:
        _channel(gain=[1.0, 1.0])
    except ValueError as error:
        assert "vibration1" in str(error)
    else:
        raise AssertionError("two gains for three axes")
