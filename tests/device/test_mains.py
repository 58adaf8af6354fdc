"""Frequency and harmonics against the numbers the waveform was made from."""

import math
from array import array

from clampdevice import kernels
from clampdevice.frequency import FrequencyMeter
from clampdevice.harmonics import HarmonicsMeter

RATE = 6400
SLOT, STRIDE = 1, 2
RECTIFIER = ((1, 1.0, 0), (3, 0.74, 175), (5, 0.42, -12), (7, 0.19, 160))


def _noise(i: int) -> float:
    """Uniform, RMS 1."""
    x = (i * 2654435761) & 0xFFFFFFFF
    x = ((x >> 16) ^ x) * 0x45D9F3B & 0xFFFFFFFF
    x ^= x >> 15
    return ((x & 0xFFFF) / 65535 - 0.5) * math.sqrt(12)


def _sine(t: float, hz: float) -> float:
    return math.sin(2 * math.pi * hz * t + 0.3)


def _half_wave(t: float, hz: float) -> float:
    return max(0.0, _sine(t, hz))


def _phase_cut(t: float, hz: float) -> float:
    return _sine(t, hz) if (hz * t * 2 + 0.3 / math.pi) % 1 > 0.6 else 0.0


def _lines(lines: tuple, t: float, hz: float) -> float:
    total = 0.0
    for order, ratio, deg in lines:
        total += ratio * math.sin(2 * math.pi * order * hz * t + math.radians(deg))
    return total


def _rectifier(t: float, hz: float) -> float:
    return _lines(RECTIFIER, t, hz)


class Feed:
    """Plays a wave into a meter, a second at a time, in blocks cut at odd places."""

    def __init__(self, meter, wave, hz: float, peak: float, noise: float = 1.0) -> None:
        self.meter = meter
        self.wave = wave
        self.hz = hz
        self.peak = peak
        self.noise = noise
        self.frame = 0
        self.bias = 2070
        self.rms = 0.0

    def second(self) -> float:
        """RMS of the wave without its noise."""
        buf = array("H", [0] * (STRIDE * 256))
        left = RATE
        total = square = 0.0
        for size in (256, 251, 256, 7, 256) * 10:
            n = min(size, left)
            left -= n
            for i in range(n):
                x = self.peak * self.wave(self.frame / RATE, self.hz)
                total += x
                square += x * x
                code = 2070.4 + x + self.noise * _noise(self.frame)
                buf[STRIDE * i + SLOT] = min(4095, max(0, math.floor(code + 0.5)))
                self.frame += 1
            if n:
                self.meter.add(buf, 0, n, self.bias)
        assert not left
        mean = total / RATE
        self.bias = int(2070.4 + mean)
        return math.sqrt(square / RATE - mean * mean)


def _frequency(wave, hz: float, peak: float, seconds: int = 3, noise: float = 1.0) -> list:
    meter = FrequencyMeter(kernels, SLOT, STRIDE, RATE, 4095)
    feed = Feed(meter, wave, hz, peak, noise)
    found = []
    for _ in range(seconds):
        rms = feed.second()
        found.append(meter.take_record(rms, noise))
    return found


def test_frequency_within_20_mhz():
    for wave in (_sine, _half_wave, _rectifier, _phase_cut):
        for hz, peak in ((50.013, 1200), (49.3, 30), (45.2, 400), (60.02, 30), (64.8, 1200)):
            # The fundamental of the cut one is a third of it.
            found = _frequency(wave, hz, max(60, peak) if wave is _phase_cut else peak)
            # The first record may find the resonator elsewhere; it goes there.
            for each in found[1:]:
                assert each is not None and abs(each - hz) < 0.02, (wave, hz, peak, found)
            assert found[0] is None or abs(found[0] - hz) < 0.02, (wave, hz, peak, found)


def test_a_drive_is_no_mains():
    for hz in (5, 17.5, 25, 33, 40, 70, 87, 100, 150, 400):
        assert _frequency(_sine, hz, 1000) == [None] * 3, hz
    for hz in (15, 35):
        assert _frequency(_rectifier, hz, 600) == [None] * 3, hz


def test_noise_has_no_frequency():
    meter = FrequencyMeter(kernels, SLOT, STRIDE, RATE, 4095)
    feed = Feed(meter, _sine, 50.0, 0.0, 3.0)
    for _ in range(2):
        feed.second()
        assert meter.take_record(0.5, 3.0) is None


def test_a_gap_withholds_one_record():
    meter = FrequencyMeter(kernels, SLOT, STRIDE, RATE, 4095)
    feed = Feed(meter, _sine, 50.0, 500)
    rms = feed.second()
    feed.frame += 777
    meter.gap()
    assert meter.take_record(rms) is None
    hz = meter.take_record(feed.second())
    assert hz is not None and abs(hz - 50.0) < 0.02


def test_a_slow_converter_is_refused():
    try:
        FrequencyMeter(kernels, 0, 1, 200.0, 4095)
    except ValueError as error:
        assert "400" in str(error)
    else:
        raise AssertionError("taken")


def _harmonics(lines: tuple, hz: float, peak: float, off_hz: float = 0.0) -> list:
    meter = HarmonicsMeter(kernels, SLOT, STRIDE, RATE, 4095)
    meter.tune(hz + off_hz)
    feed = Feed(meter, lambda t, f: _lines(lines, t, f), hz, peak)
    feed.second()
    found = meter.take_record(math.sqrt(1 + 1 / 12))
    assert found is not None
    return found


def test_harmonics_of_a_rectifier():
    lines = RECTIFIER + ((2, 0.05, 40), (9, 0.06, 20), (13, 0.03, 9), (15, 0.02, 77))
    for hz, off_hz in ((50.0, 0), (49.93, 0.015), (59.95, -0.015)):
        peak = 700
        found = _harmonics(lines, hz, peak, off_hz)
        want = [0.0] * 15
        for order, ratio, _deg in lines:
            want[order - 1] = ratio * peak / math.sqrt(2)
        for order in range(15):
            # Ref: IEC 61000-4-7, class II: 0.15 % of the nominal current for small ones
            assert abs(found[order] - want[order]) < 0.0015 * want[0], (hz, order + 1)
        thd = HarmonicsMeter.thd_pct(found)
        assert thd is not None
        ideal = 100 * math.sqrt(sum(each * each for each in want[1:])) / want[0]
        assert abs(thd - ideal) < 0.1


def test_orders_near_half_the_rate_are_not_told():
    meter = HarmonicsMeter(kernels, 0, 1, 1000.0, 4095)
    meter.tune(50.0)
    buf = array("H", [2048] * 1000)
    meter.add(buf, 0, 1000, 2048)
    found = meter.take_record()
    assert found is not None
    assert found[7:] == [None] * 8
    assert None not in found[:7]
    assert HarmonicsMeter.thd_pct(found) is None


def test_before_the_frequency_is_known_there_are_no_harmonics():
    meter = HarmonicsMeter(kernels, 0, 1, 6400.0, 4095)
    meter.add(array("H", [2048] * 6400), 0, 6400, 2048)
    assert meter.take_record() is None
