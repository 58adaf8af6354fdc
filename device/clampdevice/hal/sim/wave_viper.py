"""`synthesise_plain` and `digitise_plain` of wave.py in viper, the same codes.

Only for a MicroPython of 64 bits.
"""

import micropython


@micropython.viper
def synthesise(
    buf: ptr16, first: int, n: int, stride: int, sine: ptr16, lines: ptr32, words: int,
    level: int, slope: int, offset: int, index: int, step: int, seed: int, gain: int,
    low: int, high: int,
) -> object:  # fmt: skip
    i = 0
    while i < n:
        total = 0
        k = 0
        while k < words:
            # loads of 32 bits are zero-extended on a 64-bit PC
            phase = int(lines[k])
            at = phase >> 22
            here = int(sine[at])
            here += ((int(sine[at + 1]) - here) * ((phase >> 6) & 0xFFFF)) >> 16
            total += (here - 32768) * int(lines[k + 2])
            lines[k] = phase + int(lines[k + 1])
            k += 3
        value = offset + (((level + ((i * slope) >> 16)) * (total >> 15)) >> 15)
        if gain:
            x = ((index * 0x9E3779B1) ^ seed) & 0xFFFFFFFF
            x = (((x >> 15) ^ x) * 0x85EBCA6B) & 0xFFFFFFFF
            x = (((x >> 13) ^ x) * 0xC2B2AE35) & 0xFFFFFFFF
            x ^= x >> 16
            x = (x & 255) + ((x >> 8) & 255) + ((x >> 16) & 255) + (x >> 24) - 510
            value += (x * gain) >> 8
            index += step
        code = (value + 2048) >> 12
        if code < low:
            code = low
        if code > high:
            code = high
        buf[first] = code
        first += stride
        i += 1


@micropython.viper
def digitise(
    values: ptr32, n: int, buf: ptr16, shift: int, offset: int, index: int, seed: int, gain: int,
    low: int, high: int,
) -> object:  # fmt: skip
    i = 0
    while i < n:
        value = int(values[i])
        if value & 0x80000000:
            value -= 0x100000000  # loads of 32 bits are zero-extended on a 64-bit PC
        value = (value << shift) + offset
        if gain:
            x = (((index + i) * 0x9E3779B1) ^ seed) & 0xFFFFFFFF
            x = (((x >> 15) ^ x) * 0x85EBCA6B) & 0xFFFFFFFF
            x = (((x >> 13) ^ x) * 0xC2B2AE35) & 0xFFFFFFFF
            x ^= x >> 16
            x = (x & 255) + ((x >> 8) & 255) + ((x >> 16) & 255) + (x >> 24) - 510
            value += (x * gain) >> 8
        code = (value + 2048) >> 12
        if code < low:
            code = low
        if code > high:
            code = high
        buf[i] = code
        i += 1
