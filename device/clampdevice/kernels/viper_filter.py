"""Biquad chain and Goertzel in viper, for chips without assembler.

As viper.py and viper_velocity.py, to which see for integers of 32 and 64 bits.
"""

import micropython


@micropython.viper
def biquad(
    buf: ptr16, first: int, n: int, stride: int, bias: int, coef: ptr32, state: ptr32
) -> object:
    start = uint(buf) + 2 * first
    count = n
    stride *= 2
    sign = 1
    sign <<= 31
    sections = int(coef[0])
    coef = ptr32(uint(coef) + 4)
    while sections:
        sections -= 1
        b0 = (int(coef[0]) ^ sign) - sign
        b1 = (int(coef[1]) ^ sign) - sign
        b2 = (int(coef[2]) ^ sign) - sign
        a1 = (int(coef[3]) ^ sign) - sign
        a2 = (int(coef[4]) ^ sign) - sign
        x1 = (int(state[0]) ^ sign) - sign
        x2 = (int(state[1]) ^ sign) - sign
        y1 = (int(state[2]) ^ sign) - sign
        y2 = (int(state[3]) ^ sign) - sign
        n = int(state[4])
        buf = ptr16(start)
        left = count
        while left:
            # Terms may wrap on a chip: their sum does not, |y| < 2**17 by contract
            first = int(buf[0]) - bias
            n += b0 * first + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2
            x2 = x1
            x1 = first
            y2 = y1
            y1 = (n >> 14) + bias
            n &= 0x3FFF
            if y1 < 0:
                y1 = 0
                n = 0
            elif y1 > 0xFFFF:
                y1 = 0xFFFF
                n = 0
            buf[0] = y1
            y1 -= bias
            buf = ptr16(uint(buf) + stride)
            left -= 1
        state[0] = x1
        state[1] = x2
        state[2] = y1
        state[3] = y2
        state[4] = n
        coef = ptr32(uint(coef) + 20)
        state = ptr32(uint(state) + 24)


@micropython.viper
def goertzel(
    buf: ptr16, first: int, n: int, stride: int, bias: int, coef: ptr32, state: ptr32
) -> object:
    left = n
    e = int(coef[0])
    before = int(coef[1])
    after = int(coef[2])
    sign = 1
    sign <<= 31
    buf = ptr16(uint(buf) + 2 * first)
    stride *= 2
    first = (int(state[0]) ^ sign) - sign  # s; |s >> before| < 2**18, e < 2**13
    n = (int(state[1]) ^ sign) - sign  # d
    while left:
        n += int(buf[0]) - bias - (e * (first >> before) >> after)
        first += n
        buf = ptr16(uint(buf) + stride)
        left -= 1
    state[0] = first
    state[1] = n
