"""The kernels' signatures in front of the assembler of thumb_*.py: RP2040, also RP2350.

Here are those of an ADC whose codes go through a table; `thumb_codes.py` and `thumb_codes12.py`
have those of other codes, `thumb_mains.py` those for the mains, power and filters. `rms12` is the
assembler itself. Assembler takes at most four arguments, so elsewhere address and first sample
are joined, n and stride too, and rails travel in the unused upper halves of the accumulator's
words of minimum and maximum. Imported by the package's `__init__` only: a SyntaxError where there
is no asm_thumb.
"""

import micropython

from .thumb_lut import lut_extremes_asm
from .thumb_root import rms12
from .thumb_sums_lut import sums_lut_asm


def rms_q(acc, frac_bits: int) -> int:
    return rms12(acc, 0, frac_bits)


@micropython.viper
def sums_lut(buf: ptr16, first: int, n: int, stride: int, lut, acc) -> object:
    sums_lut_asm(uint(buf) + 2 * first, n << 5 | stride, lut, acc)


@micropython.viper
def sums_lut_extremes(
    buf: ptr16, first: int, n: int, stride: int, lut, acc, rail_lo: int, rail_hi: int
) -> object:
    words = ptr16(acc)
    words[9] = rail_lo + 1
    words[11] = rail_hi - 1
    lut_extremes_asm(uint(buf) + 2 * first, n << 5 | stride, lut, acc)
