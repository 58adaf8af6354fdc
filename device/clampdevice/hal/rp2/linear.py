"""The curve of each chip's ADC, and the table that straightens it.

The RP2040's ADC has four codes nine LSB wide (511, 1535, 2559, 3583) and a step at mid-scale; the
RP2350's is better. Averaging removes neither, so codes are looked up before they are squared.
Owns the mean curve of each chip type; a board's own differs, which belongs into its uncertainty.

Derived from the published readings of five RP2040 and five RP2350 boards (kitanokitsune,
rp2040adc_correction, commit 61898dd, actual_adc_data/*/*.csv: 32,768 voltages of a 15-bit DAC,
12 readings each): of each voltage the lowest and the highest reading dropped; of each board, for
each code, the mean voltage at which it was read; the boards' means averaged with their constant
offsets set aside; a straight line by least squares through each stretch between two steps, in
sixteenths of an LSB. The lines fit the mean curve to 0.24 LSB RMS (RP2040) and 0.29 (RP2350).

What remains on those ten boards, calibrated at an amplitude of 1,000 LSB, is the largest error
of an RMS at amplitudes of 40, 80, 160 and 320 LSB: RP2040 0.6, 0.4, 0.3, 0.1 % with the bias at
2070, 0.3, 0.4, 0.3, 0.1 % at 2110; without a table 3.0, 2.3, 1.8, 1.2 %. RP2350 with the bias at
2110 0.3, 0.5, 0.3, 0.1 %, without a table 0.8, 0.9, 0.5, 0.1 %. A table of whole codes would
leave 1.1, 0.8, 0.4, 0.1 % of an RP2040.
"""

from array import array

FRAC_BITS = 2  # of the table's entries, as `kernels.sums_lut` takes them
CODES = 4096

# (first code, last code, volts there minus the code, in sixteenths of an LSB). The code between
# two stretches is a wide one: its middle is the middle of the step.
_CURVES = (
    (
        "rp2040",
        (
            (0, 510, -243, -245),
            (512, 1534, -84, -115),
            (1536, 2046, 27, 5),
            (2048, 2558, -17, -36),
            (2560, 3582, 111, 75),
            (3584, 4095, 234, 212),
        ),
    ),
    (
        "rp2350",
        (
            (0, 511, -15, 47),
            (512, 1534, 38, 131),
            (1536, 2046, 94, 138),
            (2048, 2558, 114, 163),
            (2560, 3583, 130, 213),
            (3584, 4095, 203, 243),
        ),
    ),
)


def curve(chip: str) -> tuple:
    """The stretches of a chip's curve, as above.

    Raises:
        ValueError: no curve of such a chip.
    """
    for name, stretches in _CURVES:
        if name == chip:
            return stretches
    raise ValueError("no ADC curve of " + chip + "; there are rp2040 and rp2350")


def table(chip: str) -> array:
    """array('H') of 4096: true value of each code in quarters of an LSB, rising, below 16384."""
    stretches = curve(chip)
    result = array("H", bytes(2 * CODES))
    down = 4 - FRAC_BITS
    half = 1 << (down - 1)
    most = (CODES << FRAC_BITS) - 1
    code = value = before = 0
    for first, last, low, high in stretches:
        while code <= last:
            if code < first:
                error = (before + low) // 2
            else:
                error = low + (high - low) * (code - first) // (last - first)
            # Narrow codes may come out a quarter too low: the table must not fall.
            value = min(most, max(value, (16 * code + error + half) >> down))
            result[code] = value
            code += 1
        before = high
    return result
