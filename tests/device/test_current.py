"""Amperes from codes: exact scale, noise floor, rails; the codes come from a float sine."""

import math
from array import array

from clampdevice import kernels
from clampdevice.current import CurrentChannel, a_per_v
from clampwire.values import BELOW_FLOOR, CLIPPED, GAP, pack_values, unpack_values

ADC = {"bits": 12, "vref_v": 3.3, "slots": 4, "zero_lsb": 2070}
SCT = {"key": "current1", "quantity": "current", "slot": 1, "a_per_v": 30}
A_PER_LSB = 30 * 3.3 / 4096


class Source:
    rate_hz = 6400.0
    slots = 4


def _channel(**extra: object) -> CurrentChannel:
    config = dict(SCT)
    config.update(extra)
    return CurrentChannel(config, ADC, Source(), kernels)


def _noise(i: int) -> float:
    """Uniform, RMS 1."""
    x = (i * 2654435761) & 0xFFFFFFFF
    x = ((x >> 16) ^ x) * 0x45D9F3B & 0xFFFFFFFF
    x ^= x >> 15
    return ((x & 0xFFFF) / 65535 - 0.5) * math.sqrt(12)


def _feed(
    channel: CurrentChannel,
    a_rms: float,
    seconds: float = 1,
    dc_a: float = 0,
    noise_lsb: float = 0,
) -> None:
    """Windows of a 50.02 Hz sine through an ideal 12-bit converter."""
    buf = array("H", [0] * (4 * 256))
    frame = 0
    for _ in range(round(5 * seconds)):
        for _ in range(5):
            for i in range(256):
                t = (frame + 0.25) / 6400
                a = dc_a + math.sqrt(2) * a_rms * math.sin(2 * math.pi * 50.02 * t)
                code = 2070 + a / A_PER_LSB + noise_lsb * _noise(frame)
                buf[4 * i + 1] = min(4095, max(0, math.floor(code + 0.5)))
                frame += 1
            channel.add(buf, 0, 256)
        channel.close(False)


def _one(channel: CurrentChannel) -> tuple:
    """Flags and features of the record, by key."""
    flags, values = channel.record()
    return flags, {feature[0]: value for feature, value in zip(channel.describe()[-1], values)}


def test_rms_of_an_ideal_converter():
    # The brief's bound: 0.05 % of reading plus quantisation, from 2 % to 100 % of range.
    full = _channel().describe()[5]
    assert abs(full - 4096 * A_PER_LSB / 2 / math.sqrt(2)) < 0.01
    for share in (0.02, 0.05, 0.3, 0.97):
        channel = _channel()
        _feed(channel, share * full, 0.4)
        flags, values = _one(channel)
        ideal = share * full
        # The quantisation of a sine adds 1/12 LSB**2, in quadrature.
        bound = 0.0005 * ideal + A_PER_LSB**2 / 12 / (2 * ideal) + 0.05 * A_PER_LSB
        assert abs(values["rms"] - ideal) < bound, (share, values["rms"], ideal)
        assert abs(values["peak"] - math.sqrt(2) * ideal) < 2 * A_PER_LSB
        assert flags == 0


def test_every_default_value_survives_the_wire():
    channel = _channel(features=["rms", "peak", "mean", "crest"])
    _feed(channel, 20.0, 0.4, dc_a=0.5)
    _flags, values = channel.record()
    layout = tuple((code, mult, exp) for _k, _u, code, mult, exp in channel.describe()[-1])
    back = unpack_values(layout, pack_values(layout, values))
    for before, after, (_code, mult, exp) in zip(values, back, layout):
        assert abs(before - after) <= 0.51 * mult * 10.0**exp
    assert abs(back[2] - 0.5) < 0.02
    assert abs(back[3] - math.sqrt(2)) < 0.01


def test_a_window_of_its_own():
    channel = _channel()
    _feed(channel, 10.0, 0.2)
    features = channel.window_features()
    assert abs(features["rms"] - 10.0) < 0.02
    assert abs(channel.level - features["rms"]) < 1e-9
    assert features["clipped"] == 0
    channel.close(False)
    assert channel.level is None
    assert channel.window_features()["rms"] is None


def test_noise_is_taken_off():
    floor_a = A_PER_LSB * math.sqrt(4 + 1 / 12)
    for a in (0.5, 2.0):
        with_floor = _channel(noise_floor=floor_a)
        without = _channel()
        _feed(with_floor, a, 1, noise_lsb=2)
        _feed(without, a, 1, noise_lsb=2)
        clean = _one(with_floor)[1]["rms"]
        noisy = _one(without)[1]["rms"]
        # Noise and sine are uncorrelated but for chance: 1 / sqrt(samples).
        assert abs(clean - a) < 2 * floor_a / math.sqrt(6400) + 0.0005 * a
        assert noisy > clean + 0.8 * (math.sqrt(a * a + floor_a * floor_a) - a)


def test_below_the_floor_no_current_is_invented():
    floor_a = A_PER_LSB * math.sqrt(4 + 1 / 12)
    channel = _channel(noise_floor=floor_a, features=["rms", "peak", "crest"])
    _feed(channel, 0.0, 0.4, noise_lsb=2)
    flags, values = _one(channel)
    assert flags == BELOW_FLOOR
    assert values == {"rms": 0.0, "peak": 0.0, "crest": None}
    assert channel.level == 0.0
    assert abs(channel.describe()[6] - floor_a) < 1e-6


def test_a_peak_out_of_the_noise_is_told_below_the_floor():
    channel = _channel(noise_floor=0.05)
    buf = array("H", [2070] * (4 * 1280))
    buf[4 * 700 + 1] = 2070 + 60
    channel.add(buf, 0, 1280)
    channel.close(False)
    flags, values = _one(channel)
    assert flags == BELOW_FLOOR
    assert values["rms"] == 0.0
    assert abs(values["peak"] - 60 * A_PER_LSB) < 0.01


def test_rails_are_clipped_and_counted():
    channel = _channel()
    _feed(channel, 60.0, 0.4)
    assert channel.window_features()["clipped"] > 100
    assert channel.record()[0] == CLIPPED
    _feed(channel, 5.0, 0.4)
    assert channel.record()[0] == 0


def test_a_gap_marks_one_record():
    channel = _channel()
    _feed(channel, 5.0, 0.2)
    channel.close(True)
    assert channel.record()[0] == GAP
    _feed(channel, 5.0, 0.2)
    assert channel.record()[0] == 0


def test_a_record_without_samples_has_no_values():
    channel = _channel()
    channel.close(True)
    flags, values = channel.record()
    assert values == [None, None]
    assert flags == GAP


def test_the_scale_of_a_transformer_with_current_output():
    # 100 A : 50 mA on 22 ohm
    config = {"ct_ratio": 2000, "burden_ohm": 22}
    assert abs(a_per_v(config) - 90.909) < 0.001
    assert a_per_v({"a_per_v": 30}) == 30


def test_described():
    channel = _channel(sensor="clamp", rated_a=30, calibration="c7", uncertainty_pct=1.5)
    key, quantity, unit, sensor, rate_hz, full, floor, uncertainty, calibration, features = (
        channel.describe()
    )
    assert (key, quantity, unit, sensor) == ("current1", "current", "A", "clamp")
    assert (rate_hz, full, uncertainty, calibration) == (6400.0, 30, 1.5, "c7")
    assert floor != floor  # not known
    assert [feature[0] for feature in features] == ["rms", "peak"]
    assert all(feature[2] == ord("H") for feature in features)
