"""The curve of each chip's ADC, and the table that straightens it.

The RP2040's ADC has four codes ten LSB wide (511, 1535, 2559, 3583), a step at mid-scale where
codes are missing, and small errors that repeat with the low bits of the code; the RP2350's steps
are smaller. Averaging removes none of this, so codes are looked up before they are squared. Owns
the mean curve of each chip type; a board's own differs, which belongs into its uncertainty.

A curve is that of the thresholds: T(k), the voltage in LSB at which the ADC goes over from code
k - 1 to k, is k - 1/2 for an ideal one. Here T(k) - (k - 1/2) is a straight line over each
stretch between two steps, plus for each of the nine lowest bits of k half its weight, positive
where the bit is set.

Derived from the published readings of five RP2040 and five RP2350 boards (kitanokitsune,
rp2040adc_correction, commit 61898dd, actual_adc_data/*/*.csv: 32,768 voltages of a 15-bit DAC, 12
readings each). T(k) of a board is the share of readings below k, summed over all voltages; the
boards' mean is taken with their constant offsets set aside; lines and weights are fitted together
by least squares over the codes 40 to 4049. The fit leaves 0.075 LSB RMS of the mean curve (at
most 1.3 LSB, beside a step), and 0.08 to 0.13 LSB of a single board's.
"""

from array import array

FRAC_BITS = 2  # of the table's entries, as `kernels.sums_lut` takes them
CODES = 4096
PER_LSB = 128  # unit of `thresholds`
NONE = "none"  # in place of a chip: codes as they are

# Of each chip type: (first code, error there, error just before the next stretch) for each
# stretch, and the weights of bit 0 to 8; all in 1/64 LSB.
_CURVES = (
    (
        "rp2040",
        (
            (0, -968, -976), (512, -334, -453), (1536, 111, 27),
            (2048, -66, -136), (2560, 446, 305), (3584, 938, 849),
        ),
        (6, 14, 24, -6, 3, 3, 3, -17, 3),
    ),
    (
        "rp2350",
        (
            (0, -55, 179), (512, 161, 522), (1536, 390, 545),
            (2048, 473, 642), (2560, 529, 849), (3584, 827, 972),
        ),
        (2, 3, 4, -8, -1, 4, 3, -24, 26),
    ),
)  # fmt: skip
CHIPS = tuple(curve[0] for curve in _CURVES)


def curve(chip: str) -> tuple:
    """(stretches, weights) of a chip type, as above.

    Raises:
        ValueError: no curve of such a chip.
    """
    for name, stretches, weights in _CURVES:
        if name == chip:
            return stretches, weights
    raise ValueError("no ADC curve of " + chip + "; one of " + ", ".join(CHIPS))


def low_bits(weights: tuple) -> array:
    """What the low bits of a code add to T(k), array('h') of 512 in 1/128 LSB."""
    low = array("h", bytes(2 << len(weights)))
    for code in range(len(low)):
        for bit in range(len(weights)):
            low[code] += weights[bit] if code >> bit & 1 else -weights[bit]
    return low


def thresholds(stretches: tuple, weights: tuple):  # noqa: ANN201 - a generator of int
    """Yields T(k) for k = 4095 down to 0, in 1/128 LSB. It may rise towards a step."""
    low = low_bits(weights)
    mask = len(low) - 1
    end = CODES
    for first, at_first, at_end in reversed(stretches):
        slope = 2 * (at_end - at_first)
        for code in range(end - 1, first - 1, -1):
            line = 2 * at_first + slope * (code - first) // (end - first)
            yield PER_LSB * code - PER_LSB // 2 + line + low[code & mask]
        end = first


def table(chip: str) -> array:
    """array('H') of 4096: true value of each code in quarters of an LSB, rising, below 16384.

    Raises:
        ValueError: no curve of such a chip.
    """
    result = array("H", range(CODES))  # one allocation: bytes would be a second
    fill(result, *curve(chip))
    return result


def fill(result: array, stretches: tuple, weights: tuple) -> None:
    """Makes `result`, array('H') of 4096, the table of a curve.

    An entry is the middle between the two thresholds of its code, held within what it can say:
    the lowest codes of a chip whose offset is negative all read 0, the highest of one whose
    errors rise all read 4095.75. What is rounded off an entry goes into the next one, so that
    the table has the curve's slope over any few codes; rounding each by itself would make it 1.
    """
    before = (CODES << FRAC_BITS) - 1
    twice = 2 * PER_LSB >> FRAC_BITS
    code = CODES
    upper = rest = 0
    for threshold in thresholds(stretches, weights):
        if code == CODES:
            upper = threshold + PER_LSB
        code -= 1
        lower = min(threshold, upper)  # beyond the next one's threshold: the code is missing
        exact = lower + upper + rest
        before = min(before, max(0, (exact + twice // 2) // twice))
        rest = exact - before * twice
        if not -twice < rest < twice:
            rest = 0
        result[code] = before
        upper = lower


def table_for(config: dict, own: dict | None = None) -> array | None:
    """The table that `sources.adc.linearise` of a checked board.json names; None for none.

    8 KB in one piece: to be made before the heap is scattered. `own` is this chip's curve, see
    `curvefile.unpack`, instead of the mean.
    """
    name = config["sources"].get("adc", {}).get("linearise", NONE)
    if name == NONE:
        return None
    if own is None:
        return table(name)
    result = array("H", range(CODES))
    fill(result, own["stretches"], own["weights"])
    return result
