"""The line from the ADC's raw codes to millivolts, learned from the chip's own calibrated reading.

`read_uv` uses the values burnt in at the factory but is too slow to sample with, and MicroPython
does not say what it would make of a given code. So at start pairs of a raw code and a calibrated
reading are taken while the input swings, and a line is laid through them. Owns the pairs, the
line, what is kept of it over a reset, and the table by which codes are looked up; pure.

An input at rest gives one point and no slope: then the line of the last start counts, and without
one a provisional line through that point. `origin` says which it is, for the uncertainty.
"""

import binascii
import struct
from array import array

CODES = 4096
_BIN_BITS = 7
_BINS = CODES >> _BIN_BITS
_LEAST_IN_BIN = 4
_LEAST_BINS = 3
# Pairs must spread over at least as many codes: half a millivolt at either end is then 0.2 %.
LEAST_SPREAD = 600
_FORMAT = "<4sII"
_MAGIC = b"adc1"
_FULL = 65535

MEASURED = "eFuse calibration, measured"
KEPT = "eFuse calibration, of an earlier start"
PROVISIONAL = "eFuse calibration at one point, slope nominal"
# Of a gain, in percent: the last digit of read_uv over the spread; a slope that nobody measured
# (lines of the ESP32 with either kind of eFuse value differ by 7 % around mid-range).
GAIN_PCT = {MEASURED: 0.5, KEPT: 0.5, PROVISIONAL: 7.0}


class Pairs:
    """Codes and the millivolts read beside them, gathered in bins of 128 codes."""

    def __init__(self) -> None:
        self._n = array("H", bytes(2 * _BINS))
        self._code = array("I", bytes(4 * _BINS))
        self._mv = array("I", bytes(4 * _BINS))

    def add(self, before: int, mv: int, after: int) -> None:
        """One calibrated reading between two raw ones; their mean is the code at its moment."""
        code = (before + after) >> 1
        index = code >> _BIN_BITS
        if self._n[index] < 4096:
            self._n[index] += 1
            self._code[index] += before + after
            self._mv[index] += mv

    def points(self) -> list:
        """(code, mV) of each bin with enough pairs, rising."""
        return [
            (self._code[index] / (2 * n), self._mv[index] / n)
            for index, n in enumerate(self._n)
            if n >= _LEAST_IN_BIN
        ]

    def weights(self) -> list:
        """How many pairs each of `points` stands for."""
        return [n for n in self._n if n >= _LEAST_IN_BIN]


class Line:
    """mv = offset_mv + uv_per_code / 1000 * code. `residual_mv`: worst of the bins' means."""

    def __init__(
        self, offset_uv: int, nv_per_code: int, origin: str, residual_mv: float = 0.0
    ) -> None:  # fmt: skip
        self.offset_uv = offset_uv
        self.nv_per_code = nv_per_code
        self.origin = origin
        self.residual_mv = residual_mv

    def mv(self, code: float) -> float:
        return (self.offset_uv + code * self.nv_per_code / 1000) / 1000

    @property
    def gain_pct(self) -> float:
        """What this line may add to the uncertainty of a gain, in percent."""
        return GAIN_PCT[self.origin]

    def pack(self) -> bytes:
        """The line as it is kept; `unpack` gives it back."""
        data = struct.pack(_FORMAT, _MAGIC, self.offset_uv + (1 << 30), self.nv_per_code)
        return data + struct.pack("<I", binascii.crc32(data))

    def table(self, low_mv: int, high_mv: int) -> array:
        """array('H') of 4096: 0 at and below `low_mv`, 65535 at and above `high_mv`."""
        result = array("H", bytes(2 * CODES))
        span_uv = 1000 * (high_mv - low_mv)
        start_uv = self.offset_uv - 1000 * low_mv
        for code in range(CODES):
            uv = start_uv + code * self.nv_per_code // 1000
            if uv >= span_uv:
                result[code] = _FULL
            elif uv > 0:
                result[code] = (uv * _FULL + span_uv // 2) // span_uv
        return result


def unpack(data: bytes) -> Line | None:
    """The line in `data`, None if there is none or it is damaged."""
    size = struct.calcsize(_FORMAT)
    if len(data) != size + 4 or data[:4] != _MAGIC:
        return None
    if struct.unpack("<I", data[size:])[0] != binascii.crc32(data[:size]):
        return None
    _magic, offset, slope = struct.unpack(_FORMAT, data[:size])
    return Line(offset - (1 << 30), slope, KEPT)


def measured(pairs: Pairs) -> Line | None:
    """The line through the pairs by least squares; None if they do not spread enough."""
    points = pairs.points()
    if len(points) < _LEAST_BINS or points[-1][0] - points[0][0] < LEAST_SPREAD:
        return None
    weights = pairs.weights()
    total = sum(weights)
    # Around their means: single floats on the chips hold 7 digits.
    code = sum(w * p[0] for w, p in zip(weights, points)) / total
    mv = sum(w * p[1] for w, p in zip(weights, points)) / total
    square = product = 0.0
    for weight, point in zip(weights, points):
        off = point[0] - code
        square += weight * off * off
        product += weight * off * (point[1] - mv)
    slope = product / square
    if slope <= 0:
        return None
    line = Line(int((mv - slope * code) * 1000), int(slope * 1000000 + 0.5), MEASURED)
    line.residual_mv = max(abs(line.mv(point[0]) - point[1]) for point in points)
    return line


def provisional(pairs: Pairs, scheme: str) -> Line:
    """A line through the mean of all pairs with the slope that such chips have.

    Raises:
        ValueError: there are no pairs.
    """
    points = pairs.points()
    if not points:
        raise ValueError("no reading of the ADC to calibrate with")
    # At code 0: 142 mV by the line of an ESP32 with a reference of 1,100 mV (ESP-IDF
    # adc_cali_line_fitting.c, ADC1 at 11 dB); 0 where IDF corrects by a curve.
    offset_uv = 142000 if scheme == "line" else 0
    weights = pairs.weights()
    total = sum(weights)
    code = sum(w * p[0] for w, p in zip(weights, points)) / total
    mv = sum(w * p[1] for w, p in zip(weights, points)) / total
    if code < 1 or 1000 * mv <= offset_uv:
        raise ValueError(f"the ADC reads {mv:.0f} mV at code {code:.0f}: no bias at the pins")
    return Line(offset_uv, int((1000 * mv - offset_uv) / code * 1000 + 0.5), PROVISIONAL)
