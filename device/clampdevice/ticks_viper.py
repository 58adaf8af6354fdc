"""The difference of ticks.py in viper; compiled on the board from source."""

import micropython


@micropython.viper
def ticks_diff(end: int, start: int) -> int:
    # What is handed over as an object is cut to a word, so nothing here touches the heap.
    return ((end - start + 0x20000000) & 0x3FFFFFFF) - 0x20000000
