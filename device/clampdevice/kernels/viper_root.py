"""The root that ends a window, in viper, for chips without assembler. See viper.py."""

from array import array

import micropython

from .viper import sums12

_scratch = array("I", bytes(32))  # of rms12, which must not allocate; means nothing after it


@micropython.viper
def rms_q(acc: ptr16, frac_bits: int) -> int:
    n_0 = int(acc[14])
    n_1 = int(acc[15])
    # v = n * Q - S * S modulo 2**64 in four limbs: sums of halves of products of limbs
    x = n_0 * int(acc[4])
    v_0 = x & 0xFFFF
    v_1 = (x >> 16) & 0xFFFF
    x = n_0 * int(acc[5])
    v_1 += x & 0xFFFF
    v_2 = (x >> 16) & 0xFFFF
    x = n_1 * int(acc[4])
    v_1 += x & 0xFFFF
    v_2 += (x >> 16) & 0xFFFF
    x = n_0 * int(acc[6])
    v_2 += x & 0xFFFF
    v_3 = (x >> 16) & 0xFFFF
    x = n_1 * int(acc[5])
    v_2 += x & 0xFFFF
    v_3 += (x >> 16) & 0xFFFF
    v_3 += (n_0 * int(acc[7]) + n_1 * int(acc[6])) & 0xFFFF
    s_0 = int(acc[0])
    s_1 = int(acc[1])
    s_2 = int(acc[2])
    x = s_0 * s_0
    v_0 -= x & 0xFFFF
    v_1 -= (x >> 16) & 0xFFFF
    x = s_0 * s_1
    v_1 -= (x & 0xFFFF) << 1
    v_2 -= ((x >> 16) & 0xFFFF) << 1
    x = s_1 * s_1
    v_2 -= x & 0xFFFF
    v_3 -= (x >> 16) & 0xFFFF
    x = s_0 * s_2
    v_2 -= (x & 0xFFFF) << 1
    v_3 -= ((x >> 16) & 0xFFFF) << 1
    v_3 -= ((s_0 * int(acc[3]) + s_1 * s_2) & 0xFFFF) << 1
    v_1 += v_0 >> 16
    v_0 &= 0xFFFF
    v_2 += v_1 >> 16
    v_1 &= 0xFFFF
    high = (((v_3 + (v_2 >> 16)) & 0xFFFF) << 16) | (v_2 & 0xFFFF)  # < 2**30, as v < 2**62
    if not (high | v_1 | v_0):
        return 0
    exponent = frac_bits + 1
    while high < 1 << 20:
        high = (high << 8) | (v_1 >> 8)
        v_1 = ((v_1 << 8) & 0xFF00) | (v_0 >> 8)
        v_0 = (v_0 << 8) & 0xFF00
        exponent -= 4
    while high < 1 << 28:
        high = (high << 2) | (v_1 >> 14)
        v_1 = ((v_1 << 2) & 0xFFFC) | (v_0 >> 14)
        v_0 = (v_0 << 2) & 0xFFFC
        exponent -= 1
    # root of the upper 32 bits, bit by bit
    root = 0
    bit = 1 << 28
    while bit:
        x = root + bit
        root >>= 1
        if high >= x:
            high -= x
            root += bit
        bit >>= 2
    # 16 bits more by one division, (remainder << 16 | next 16 bits) / (2 * root)
    x = root << 1
    quotient = 0
    if high >= x:
        high -= x
        quotient = 1
    bit = 16
    while bit:
        bit -= 1
        high = (high << 1) | ((v_1 >> bit) & 1)
        quotient <<= 1
        if high >= x:
            high -= x
            quotient |= 1
    while True:  # at most two down: quotient**2 may pass the remainder
        if quotient < 0x10000:
            bit = quotient * quotient
            v_1 = (bit >> 16) & 0xFFFF
            if high > v_1 or (high == v_1 and v_0 >= bit & 0xFFFF):
                break
        quotient -= 1
        high += x
    root = (root << 16) + quotient  # [2**30, 2**31)
    # root * 2**exponent / n by long division
    bit = 31
    if exponent < 0:
        root = root >> (0 - exponent) if exponent > -31 else 0
        exponent = 0
    x = (n_1 << 16) | n_0
    quotient = 0
    high = 0
    while bit + exponent:
        high <<= 1
        if bit:
            bit -= 1
            high |= (root >> bit) & 1
        else:
            exponent -= 1
        quotient <<= 1
        if high >= x:
            high -= x
            quotient |= 1
    return (quotient + 1) >> 1


def rms12(buf, n: int, frac_bits: int) -> int:
    for i in range(8):
        _scratch[i] = 0
    # Viper takes the array as the pointer that its signature names.
    sums12(buf, 0, n, 1, _scratch)  # pyright: ignore[reportArgumentType]
    return rms_q(_scratch, frac_bits)  # pyright: ignore[reportArgumentType]
