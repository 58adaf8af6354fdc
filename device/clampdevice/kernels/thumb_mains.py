"""Filters, straightened samples and products in assembler: for frequency, harmonics, power.

See thumb.py for the signatures.
"""

import micropython

from .thumb_filter import biquad_asm, cross_asm, goertzel_asm, linearise_asm


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
