"""The inner loops of fast.py in viper; compiled on the board from source."""

import micropython


@micropython.viper
def extremes(buf: ptr16, first: int, n: int, stride: int) -> int:
    p = ptr16(uint(buf) + 2 * first)
    step = 2 * stride
    low = 0xFFF
    high = 0
    while n:
        x = p[0]
        p = ptr16(uint(p) + step)
        if x < low:
            low = x
        if x > high:
            high = x
        n -= 1
    return high << 12 | low


@micropython.viper
def ticks_at(words: ptr32, index: int) -> int:
    return int(words[index]) & 0x3FFFFFFF
