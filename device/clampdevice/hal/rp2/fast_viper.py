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


@micropython.viper
def ticks_diff(end: int, start: int) -> int:
    # What is handed over as an object is cut to a word, so nothing here touches the heap.
    return ((end - start + 0x20000000) & 0x3FFFFFFF) - 0x20000000
