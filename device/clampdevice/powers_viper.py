"""The loops of powers.py in viper: words are read as two halves, so that no sign can come in."""

import micropython


@micropython.viper
def add_powers(out: ptr16, first: int, end: int, halves: ptr32) -> object:
    low = 0
    high = 0
    while first < end:
        low += out[2 * first]
        high += out[2 * first + 1]
        first += 1
    halves[0] = int(halves[0]) + low
    halves[1] = int(halves[1]) + high


@micropython.viper
def largest(out: ptr16, first: int, end: int) -> int:
    best = first
    low = int(out[2 * first])
    high = int(out[2 * first + 1])
    while first < end:
        h = int(out[2 * first + 1])
        if h >= high:
            p = int(out[2 * first])
            if h > high or p > low:
                high = h
                low = p
                best = first
        first += 1
    return best
