"""Sums of codes as they are, in assembler: what a board without a table takes, or a sensor.

See thumb.py for the signatures.
"""

import micropython

from .thumb_extremes16 import extremes16_asm
from .thumb_sums import sums_asm


@micropython.viper
def sums(buf: ptr16, first: int, n: int, stride: int, acc) -> object:
    sums_asm(uint(buf) + 2 * first, n << 5 | stride, acc)


@micropython.viper
def sums_extremes(
    buf: ptr16, first: int, n: int, stride: int, acc, rail_lo: int, rail_hi: int
) -> object:
    words = ptr16(acc)
    words[9] = rail_lo + 1
    words[11] = rail_hi - 1
    extremes16_asm(uint(buf) + 2 * first, n << 5 | stride, acc)
