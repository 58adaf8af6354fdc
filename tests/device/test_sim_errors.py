"""The simulated errors of a chip's ADC, and the firmware's way out of them."""

import math
from array import array

from clampdevice import linear

# What is large comes first into the heap, as on a board.
TABLE = linear.table("rp2040")

from clampdevice.hal.sim import errors  # noqa: E402
from clampdevice.hal.sim.adc import Adc  # noqa: E402
from clampdevice.hal.sim.converter import Converter  # noqa: E402
from clampdevice.hal.sim.playback import Playback  # noqa: E402
from clampdevice.hal.sim.wave import sine_table  # noqa: E402
from clampdevice.measure import Measurement  # noqa: E402
from clampwire.values import CLIPPED  # noqa: E402

try:
    micropython = __import__("micropython")
except ImportError:
    micropython = None

CHANNELS = [{"key": "current1", "quantity": "current", "slot": 0, "a_per_v": 1}]
ADC = {"rate_hz": 6400, "slots": 2, "bits": 12, "vref_v": 4096.0, "zero_lsb": 2150}


def _codes(model: array, first: int, n: int, quantise=errors.quantise) -> array:
    """The codes of voltages from `first` on, in eighths of an LSB."""
    codes = array("H", range(first, first + n))
    quantise(codes, 0, n, 1, model)
    return codes


def test_models_have_what_was_published_of_the_chip():
    model = errors.converter("rp2040")
    width = dict.fromkeys((511, 1535, 2047, 2559, 3583), 0)
    before = 0
    for first in range(0, 8 * 4096, 512):
        for code in _codes(model, first, 512):
            assert code >= before
            before = code
            if code in width:
                width[code] += 1
    for code in (511, 1535, 2559, 3583):  # RP2040-E11: differential errors of 8.9 LSB
        assert abs(width[code] / 8 - 1 - 8.9) < 0.7, (code, width[code])
    assert width[2047] == 0  # and no such code at all
    # Where nothing is near, a code begins where the curve says.
    code = 4096
    for threshold in linear.thresholds(*linear.curve("rp2040")):
        code -= 1
        if code in (100, 700, 1800, 2300, 3000, 3900):
            found = _codes(model, threshold // 16 - 1, 3)
            assert (found[0], found[2]) == (code - 1, code)


def test_compiled_quantiser_gives_the_same_codes():
    for name in ("rp2040-3", "rp2350"):
        model = errors.converter(name)
        for first in (0, 8 * 500, 8 * 2000, 8 * 4000, 65000):
            compiled = _codes(model, first, 500)
            assert compiled == _codes(model, first, 500, errors.quantise_plain)
    if micropython is not None:
        assert errors.quantise is not errors.quantise_plain


def test_quantiser_takes_a_slot():
    model = errors.converter("rp2040")
    whole = array("H", [8 * (97 * i % 4000) for i in range(90)])
    slot = array("H", whole)
    errors.quantise(whole, 0, 90, 1, model)
    errors.quantise(slot, 1, 30, 3, model)
    for i in range(90):
        assert slot[i] == (whole[i] if i % 3 == 1 else 8 * (97 * i % 4000))


def test_unknown_models_are_refused():
    for name, rails, said in (("rp2041", (0, 4095), "rp2040-5"), ("rp2040", (0, 255), "12 bits")):
        try:
            Converter(name, rails)
            raise AssertionError(name)
        except ValueError as error:
            assert said in str(error), error


def test_every_model_can_be_made():
    for name in errors.model_names():
        codes = _codes(errors.converter(name), 8 * 2000, 2)
        assert abs(codes[0] - 2000) < 20


class _Sine:
    """File of int32: a sine of `peak` LSB from the bias, in 1/4096 LSB."""

    def __init__(self, peak: float, frames: int, hz: float) -> None:
        self.left = frames
        self._at = 0
        self._peak = peak * 4096
        self._step = 2 * math.pi * hz / 6400

    def readinto(self, buf: array) -> int:
        n = min(self.left, len(buf))
        for i in range(n):
            buf[i] = int(self._peak * math.sin(self._step * (self._at + i)))
        self._at += n
        self.left -= n
        return 4 * n


def _error_pct(peak: float, model: str | None, linearise: str) -> float:
    """Of the firmware's RMS over a second of a sine of 53.1 Hz with half an LSB of noise."""
    hz = 53.1
    source = Playback(
        _Sine(peak, 6400, hz), 6400, 1, None, ADC["zero_lsb"], (0, 4095), 0.5, 3, model
    )
    adc = {"bits": 12, "vref_v": 4096.0, "zero_lsb": ADC["zero_lsb"], "linearise": linearise}
    channel = dict(CHANNELS[0])
    channel["noise_floor"] = 0.577
    found: list = []
    config = {"channels": [channel], "sources": {"adc": adc}}
    measure = Measurement(config, {"adc": source}, lut=None if linearise == "none" else TABLE)
    measure.on_record = lambda _end, _windows, _flags, values: found.append(values[0])
    measure.start(0)
    while measure.poll(measure.window_end_us):
        pass
    true = 0.0
    for window in range(5):
        s = q = 0.0
        for i in range(1280 * window, 1280 * window + 1280):
            x = math.sin(2 * math.pi * hz * i / 6400)
            s += x
            q += x * x
        true += q / 1280 - (s / 1280) ** 2
    return (found[0] / (peak * math.sqrt(true / 5)) - 1) * 100


def test_the_table_takes_the_error_off():
    for peak in (40, 160, 1000, 1900):
        ideal = _error_pct(peak, None, "none")
        raw = _error_pct(peak, "rp2040", "none")
        straight = _error_pct(peak, "rp2040", "rp2040")
        assert abs(ideal) < 0.1, (peak, ideal)
        assert abs(raw) > 0.3, (peak, raw)
        assert abs(straight) < 0.1, (peak, straight)


def test_a_table_where_none_belongs_is_seen():
    # Without the chip's errors the table makes the very error it else takes off.
    assert abs(_error_pct(1000, None, "rp2040")) > 0.3


def _scenario(**adc: object) -> dict:
    return {
        "seed": 3,
        "mains_hz": 49.97,
        "temperature_c": 40,
        "adc": adc,
        "waves": {"run": {"current1": [[1, 1.0, 0]]}},
        "timeline": [{"wave": "run", "ms": 60000, "levels": {"current1": [100000]}}],
    }


def _record(adc: dict, scenario: dict) -> tuple:
    config = {"channels": CHANNELS, "sources": {"adc": adc}}
    found: list = []
    source = Adc(adc, CHANNELS, scenario, sine_table())
    measure = Measurement(
        config, {"adc": source}, lut=None if adc["linearise"] == "none" else TABLE
    )
    measure.on_record = lambda *fields: found.append(fields)
    measure.start(0)
    now_us = 0
    while not found:
        now_us += 20000
        while measure.poll(now_us):
            pass
    _end_ms, _windows, flags, values = found[0]
    return values[0], flags[0], measure.temperature_c


def test_a_simulated_board_has_the_errors_of_its_chip():
    adc = dict(ADC)
    adc["temperature_slot"] = 1
    adc["vref_v"] = 3.3  # for the temperature
    adc["linearise"] = "none"
    a_per_lsb = 3.3 / 4096
    scenario = _scenario(model="rp2040", noise_lsb=0.5)
    scenario["timeline"][0]["levels"]["current1"] = [1000 * 700 * a_per_lsb]
    raw, flags, raw_c = _record(adc, scenario)
    adc["linearise"] = "rp2040"
    straight, _flags, straight_c = _record(adc, scenario)
    assert abs(raw / (700 * a_per_lsb) - 1) > 0.005
    assert abs(straight / (700 * a_per_lsb) - 1) < 0.001
    assert not flags & CLIPPED
    # The chip's own temperature is read through the same converter: 1.7 mV are a degree.
    assert abs(straight_c - 40) < 0.5
    assert abs(raw_c - 40) > 2
