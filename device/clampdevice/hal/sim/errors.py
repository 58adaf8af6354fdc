"""The errors of a chip's own ADC, for the simulated one: steps, missing codes, small ones.

Owns the curves of single boards and the thresholds that make codes of voltages by them. Offset
and noise are the scenario's (`adc.offset_lsb`, `adc.noise_lsb`); the mean curve of a chip type,
and what a curve is, are `clampdevice.linear`.

A model is named in scenario.json as `adc.model`: a chip type is its mean curve, `rp2040-1` to
`rp2040-5` and `rp2350-1` to `rp2350-5` are the boards from which the mean was made, fitted one by
one as the mean was; the source is given there. A table from the mean straightens the mean curve by
construction; the single boards show what it is worth on a board it does not know.
"""

import sys
from array import array

from clampdevice.linear import CHIPS, CODES, PER_LSB, curve, low_bits

VOLTAGE_BITS = 3  # fractional, of an LSB: what lies above 4096 LSB must fit too
_LOW = 512  # codes of the low bits; all stretches begin at a multiple
_HALF = 32768

# Stretches and weights as in clampdevice.linear, in 1/64 LSB; the stretches' first codes are
# those of the chip type. Least squares leaves 0.08 to 0.13 LSB RMS.
_BOARDS = (
    (
        "rp2040",
        (
            (-775, -776, -156, -248, 323, 254, 159, 99, 697, 584, 1165, 1089),
            (0, 14, 25, -6, 2, 5, 5, -14, -12),
        ),
        (
            (-922, -918, -321, -416, 155, 80, 5, -58, 526, 390, 997, 921),
            (8, 13, 24, -6, 2, 1, 2, -19, -1),
        ),
        (
            (-962, -991, -302, -479, 76, -38, -137, -234, 329, 134, 829, 713),
            (7, 14, 24, -6, 1, 1, 0, -22, 20),
        ),
        (
            (-1021, -1006, -392, -465, 84, 28, -72, -113, 444, 364, 973, 906),
            (6, 14, 24, -5, 5, 7, 1, -13, -25),
        ),
        (
            (-1162, -1188, -499, -658, -86, -188, -286, -373, 234, 52, 728, 617),
            (7, 13, 23, -6, 3, 2, 5, -17, 33),
        ),
    ),
    (
        "rp2350",
        (
            (-50, 204, 162, 555, 400, 573, 505, 696, 585, 946, 905, 1067),
            (2, 3, 4, -10, -3, 2, 0, -37, 19),
        ),
        (
            (-6, 236, 197, 556, 449, 600, 540, 706, 607, 918, 884, 1025),
            (2, 4, 4, -6, 0, 6, 5, -14, 14),
        ),
        (
            (149, 359, 405, 751, 635, 769, 695, 842, 737, 984, 1019, 1142),
            (1, 2, 4, -9, -1, 6, 8, -28, 57),
        ),
        (
            (-620, -392, -395, -74, -206, -58, -156, 2, -111, 221, 205, 345),
            (2, 4, 6, -8, 2, 4, 8, -12, 44),
        ),
        (
            (250, 487, 438, 822, 670, 841, 780, 966, 827, 1176, 1122, 1282),
            (2, 3, 5, -8, -3, 3, -3, -29, -4),
        ),
    ),
)


def model_names() -> tuple:
    """The models there are."""
    names = list(CHIPS)
    for row in _BOARDS:
        names += [row[0] + "-" + str(number) for number in range(1, len(row))]
    return tuple(names)


def curve_of(name: str) -> tuple:
    """(stretches, weights) of a model, as `linear.curve` has them. Raises ValueError."""
    if name in CHIPS:
        return curve(name)
    for row in _BOARDS:
        for number in range(1, len(row)):
            if name == row[0] + "-" + str(number):
                errors, weights = row[number]
                stretches = [
                    (part[0], errors[2 * i], errors[2 * i + 1])
                    for i, part in enumerate(curve(row[0])[0])
                ]
                return stretches, weights
    raise ValueError(f"no ADC model {name!r}; one of {', '.join(model_names())}")


def converter(name: str) -> array:
    """A model for `quantise`: array('H'), all entries 1/128 LSB around 32768.

    512 for the low bits of a code, then 8 for its highest three bits, where the straight line
    begins, then 8 for how far the line rises over the next 512 codes. A table of all thresholds
    would take 8 KB in one piece.

    Raises:
        ValueError: no such model.
    """
    stretches, weights = curve_of(name)
    low = low_bits(weights)
    result = array("H", range(_LOW + 16))
    for code in range(_LOW):
        result[code] = _HALF + low[code]
    for i in range(len(stretches)):
        first, at_first, at_end = stretches[i]
        end = stretches[i + 1][0] if i + 1 < len(stretches) else CODES
        rise = 2 * (at_end - at_first) * _LOW // (end - first)
        for part in range((end - first) // _LOW):
            at = _LOW + first // _LOW + part
            result[at] = _HALF + 2 * at_first - PER_LSB // 2 + part * rise
            result[at + 8] = _HALF + rise
    return result


def quantise_plain(buf, first: int, n: int, stride: int, model) -> None:
    """Replaces voltages by the codes of a converter, found bit by bit as the chip does.

    The voltages are `buf[first + i * stride]` for i < n, in eighths of an LSB, rounded down; what
    was rounded is spread evenly, or all thresholds within an eighth would be one.
    `model` is what `converter` makes; where its thresholds fall, the codes in between are missing.
    """
    for i in range(first, first + n * stride, stride):
        # 40503 is 65536 by the golden ratio: sixteen parts in turn, as evenly as can be.
        at = (buf[i] << 4) + ((i * 40503 & 0xFFFF) >> 12) + 2 * _HALF
        code = 0
        bit = CODES >> 1
        while bit:
            code |= bit
            low = code & (_LOW - 1)
            high = _LOW + (code >> 9)
            line = model[high] + ((model[high + 8] - _HALF) * low >> 9)
            if at < PER_LSB * code + model[low] + line:
                code ^= bit
            bit >>= 1
        buf[i] = code


quantise = quantise_plain
if sys.implementation.name == "micropython":
    try:
        from clampdevice.hal.sim.errors_viper import quantise  # noqa: F401
    except SyntaxError:
        pass  # a MicroPython without native code refuses the decorator
