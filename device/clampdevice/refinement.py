"""A chip's own ADC curve from how often its codes came, with the chip type's mean as its shape.

Owns the estimate and what is said of it; the loops are `codedensity.py`'s.

What differs from one board to the next are the steps at the multiples of 512 and the weights of
bits 3 to 8; both show in the widths of codes against their neighbours'. Any signal that passes
smoothly over the codes tells them, a sine as impure as the mains' too. The slope between the
steps does not show that way: it differs between boards by the same everywhere, which is a matter
of the gain, and is taken from the mean curve, less what the steps are higher by, so that the
curve has the mean's length from end to end. Bits 0 to 2 stay the mean's. Ref: IEEE Std 1241, code
density test. Its transition levels, C - A cos(pi H(k) / N) of the cumulative histogram H, need a
sine purer than the ADC is straight; the ratio of a code's count to that of its neighbours, which
is its width (DNL), needs none.

Widths of the six classes of bins are found by turns: each is scaled by what was counted over what
the neighbours promised, until nothing moves. With bit b worth w(b), a bin that ends in t
ones is 8 + w(t + 3) - w(t + 2) - ... - w(3) LSB wide. The bins before 1024 and 3072, where
there is no step, end in a fall by all weights: that gives the scale, which classes alone cannot.
"""

from array import array
from math import sqrt

from clampdevice import codedensity, linear
from clampdevice.codedensity import BIN_BITS, BINS, BLOCK, CLASSES, MOST, REACH, UNIT, ones

PER_LSB = 64  # of curves
_TURNS = 12
_LSB = 1 << BIN_BITS
_LEAST_STEP = 1600  # counts on either side of a step: 50 a code
_LEAST_USED = 64  # bins
_LEAST_SAMPLES = 100000
ROUGHEST_LSB = 0.25
_MOST_CLIPPED = 0.001


class RefinementError(ValueError):
    """These counts make no curve; the message says why, and what to do."""


class Refinement:
    """A refined curve.

    Attributes:
        stretches, weights: as of `linear.curve`.
        samples: counted.
        steps: codes of the steps that were seen; the others are the mean's.
        step_lsb: standard uncertainty of the least certain of these, from the counts.
        rough_lsb: RMS of what widths of bins differ from their class's by, beyond chance.
    """

    def __init__(self, samples: int) -> None:
        self.stretches: tuple = ()
        self.weights: tuple = ()
        self.samples = samples
        self.steps: list = []
        self.step_lsb = 0.0
        self.rough_lsb = 0.0


def refine(counts, chip: str) -> Refinement:
    """The curve of the chip that gave `counts`, array('I') of 512, left as they are.

    Raises:
        RefinementError: not enough, clipped, not smooth, or no step is reached.
        ValueError: no mean curve of such a chip.
    """
    mean, weights = linear.curve(chip)
    made = Refinement(sum(counts))
    if made.samples < _LEAST_SAMPLES:
        raise RefinementError(f"{made.samples} samples, {_LEAST_SAMPLES} are needed: count longer")
    clipped = 0
    for at in range(REACH):
        clipped += counts[at] + counts[BINS - 1 - at]
    clipped /= made.samples
    if clipped > _MOST_CLIPPED:
        raise RefinementError(
            f"{100 * clipped:.2g} % of the samples are in the outermost {_LSB * REACH} codes: "
            "use a smaller signal"
        )
    widths, made.rough_lsb = _settle(counts, weights)
    lasts = {}  # by the boundary: (width of the bin before it, variance)
    for boundary in range(512, linear.CODES, 512):
        seen = _last(counts, widths, boundary >> BIN_BITS)
        if seen is not None:
            lasts[boundary] = seen
    made.steps = [part[0] for part in mean[1:] if part[0] in lasts]
    if not made.steps:
        raise RefinementError(
            "the signal passes smoothly over none of the steps at "
            + ", ".join(str(part[0]) for part in mean[1:])
            + ": use a larger one"
        )
    if made.rough_lsb > ROUGHEST_LSB:
        raise RefinementError(
            f"not smooth: widths scatter by {made.rough_lsb:.2g} LSB beyond chance; use a signal "
            "that does not run in step with the sampling, or count longer"
        )
    scale = _scale(widths, lasts, weights)
    found = _weights([width * scale for width in widths])
    made.weights = weights[:BIN_BITS] + tuple(_rounded(PER_LSB * weight) for weight in found)
    fall = sum(found)
    steps = {}
    for first in made.steps:
        width, variance = lasts[first]
        steps[first] = PER_LSB * (width * scale - _LSB + fall)
        made.step_lsb = max(made.step_lsb, sqrt(variance))
    made.stretches = _stretches(mean, steps)
    return made


def _widths(weights: tuple) -> list:
    """Widths in LSB of the classes, and of a bin before a multiple of 512 without a step."""
    widths = []
    below = 0
    for weight in weights[BIN_BITS:]:
        widths.append(_LSB + (weight - below) / PER_LSB)
        below += weight
    widths.append(_LSB - below / PER_LSB)
    return widths


def _weights(widths: list) -> list:
    """The inverse, from the classes alone: weights of bits 3 to 8 in LSB."""
    weights: list = []
    below = 0.0
    for width in widths:
        weights.append(width - _LSB + below)
        below += weights[-1]
    return weights


def _settle(counts, weights: tuple) -> tuple:
    """Widths of the classes in LSB up to a common factor, and what they leave beyond chance."""
    per_lsb = UNIT / _LSB
    widths = [width * per_lsb for width in _widths(weights)[:CLASSES]]
    sums = array("I", [0] * codedensity.WORDS)
    used = 0
    for _turn in range(_TURNS):
        whole = array("I", [int(width + 0.5) for width in widths])
        codedensity.weigh(counts, whole, sums)
        used = 0
        for kind in range(CLASSES):
            used += sums[codedensity.USED + kind]
        if used < _LEAST_USED or not sums[codedensity.USED + CLASSES - 1]:
            raise RefinementError(
                f"only {used} of {BINS} groups of eight codes have enough counts, and neighbours "
                "as often: count longer, or use a signal that is larger and moves smoothly"
            )
        for kind in range(CLASSES):
            expected = sums[codedensity.EXPECTED + kind]
            if expected:
                share = sums[codedensity.SEEN + kind] / expected
                # Beyond that, whole[] times counts would leave 32 bits, or divide by 0.
                widths[kind] = max(0.1 * UNIT, min(1.9 * UNIT, whole[kind] * share))
    squares = sums[codedensity.SQUARES] - sums[codedensity.CHANCE] / 256
    rough = sqrt(max(0.0, squares) / used) / 256 * _LSB
    return [width / per_lsb for width in widths], rough


def _last(counts, widths: list, end: int):  # noqa: ANN202 - a tuple, or None if it is not seen
    """(width in LSB, variance) of the last bin before the bin `end`, which begins with a step."""
    inner = counts[end - 1]
    sides = []
    length = 0.0
    for start in (end - 1 - REACH, end):
        side = 0
        for at in range(start, start + REACH):
            side += counts[at]
            length += widths[ones(at)]
        if not _LEAST_STEP <= side < MOST:
            return None
        sides.append(side)
    outer = sides[0] + sides[1]
    if abs(sides[0] - sides[1]) > outer // 8:
        return None
    around = outer / 2 / REACH
    for at in range(max(0, end - 1 - 2 * REACH), min(BINS, end + 2 * REACH)):
        # Where the signal turns, both sides may be alike by accident.
        if at != end - 1 and abs(counts[at] - around) > around / 4:
            return None
    per_lsb = outer / length
    width = inner / per_lsb
    return width, (width + width * width / length) / per_lsb


def _scale(widths: list, lasts: dict, weights: tuple) -> float:
    """What widths are multiplied by, so that 512 codes without a step are 512 LSB long."""
    plain = [lasts[boundary][0] for boundary in (1024, 3072) if boundary in lasts]
    length = sum(plain) / len(plain) if plain else _widths(weights)[CLASSES]
    for kind in range(CLASSES):
        length += widths[kind] * (BLOCK // 2 >> kind)
    return 512 / length


def _stretches(mean: tuple, steps: dict) -> tuple:
    """The mean's stretches with other steps, in 1/64 LSB; slopes so that both ends stay."""
    higher = 0.0
    for i in range(1, len(mean)):
        if mean[i][0] in steps:
            higher += steps[mean[i][0]] - (mean[i][1] - mean[i - 1][2])
    made = []
    at = float(mean[0][1])
    for i in range(len(mean)):
        first, at_first, at_end = mean[i]
        if i:
            at += steps.get(first, at_first - mean[i - 1][2])
        end = mean[i + 1][0] if i + 1 < len(mean) else linear.CODES
        begin = at
        at += at_end - at_first - higher * (end - first) / linear.CODES
        made.append((first, _rounded(begin), _rounded(at)))
    return tuple(made)


def _rounded(value: float) -> int:
    return int(value + 0.5) if value >= 0 else -int(0.5 - value)
