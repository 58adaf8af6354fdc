"""The kernels' signatures in front of the assembler of thumb_*.py: RP2040, also RP2350.

`rms12` is the assembler itself. Assembler takes at most four arguments, so elsewhere address and
first sample are joined, n and stride too, and rails travel in the unused upper halves of the
accumulator's words of minimum and maximum. Imported by the package's `__init__` only: a
SyntaxError where there is no asm_thumb.
"""

import micropython

from .thumb_extremes import extremes12_asm
from .thumb_extremes16 import extremes16_asm
from .thumb_filter import biquad_asm, cross_asm, goertzel_asm, linearise_asm
from .thumb_lut import lut_extremes_asm
from .thumb_root import rms12
from .thumb_sums import sums_asm, sums_lut_asm
from .thumb_sums12 import sums12_asm


@micropython.viper
def sums(buf: ptr16, first: int, n: int, stride: int, acc) -> object:
    sums_asm(uint(buf) + 2 * first, n << 5 | stride, acc)


@micropython.viper
def sums12(buf: ptr16, first: int, n: int, stride: int, acc) -> object:
    sums12_asm(uint(buf) + 2 * first, n << 5 | stride, acc)


def rms_q(acc, frac_bits: int) -> int:
    return rms12(acc, 0, frac_bits)


@micropython.viper
def sums_extremes(
    buf: ptr16, first: int, n: int, stride: int, acc, rail_lo: int, rail_hi: int
) -> object:
    words = ptr16(acc)
    words[9] = rail_lo + 1
    words[11] = rail_hi - 1
    extremes16_asm(uint(buf) + 2 * first, n << 5 | stride, acc)


@micropython.viper
def sums12_extremes(
    buf: ptr16, first: int, n: int, stride: int, acc, rail_lo: int, rail_hi: int
) -> object:
    words = ptr16(acc)
    words[9] = rail_lo + 1
    words[11] = rail_hi - 1
    extremes12_asm(uint(buf) + 2 * first, n << 5 | stride, acc)


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


@micropython.viper
def linearise(buf: ptr16, first: int, n: int, stride: int, lut) -> object:
    linearise_asm(uint(buf) + 2 * first, n << 5 | stride, lut)


@micropython.viper
def cross(buf: ptr16, first_a: int, first_b: int, n: int, stride: int, out) -> object:
    cross_asm(uint(buf) + 2 * first_a, n << 5 | stride, 2 * (first_b - first_a), out)


@micropython.viper
def biquad(
    buf: ptr16, first: int, n: int, stride: int, bias: int, coef: ptr32, state: ptr32
) -> object:
    sections = int(coef[0])
    coef = ptr32(uint(coef) + 4)
    while sections:
        sections -= 1
        state[5] = bias
        biquad_asm(uint(buf) + 2 * first, n << 5 | stride, uint(coef), uint(state))
        coef = ptr32(uint(coef) + 20)
        state = ptr32(uint(state) + 24)


@micropython.viper
def goertzel(buf: ptr16, first: int, n: int, stride: int, bias: int, coef, state) -> object:
    words = ptr32(state)
    words[2] = bias
    goertzel_asm(uint(buf) + 2 * first, n << 5 | stride, coef, state)
