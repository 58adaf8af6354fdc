"""Buffers at addresses that a DMA ring can wrap at.

A ring of 2**n bytes must begin at a multiple of 2**n, and MicroPython's heap promises multiples
of 16. Owns the search for such a place; gives no more of the heap away than it must.
"""

import gc
from array import array


def aligned_array(kind: str, items: int, boundary: int, memory) -> tuple:
    """(array, index): `items` values from `index` on at a multiple of `boundary` bytes.

    Args:
        kind: "H" or "I".
        items: how many values; what they are at first is undefined.
        boundary: a power of two of bytes.
        memory: has `addressof(array)` and `blank(size)`, any `size` bytes that cost no heap.

    Raises:
        MemoryError: the heap has no such place.
    """
    size = 2 if kind == "H" else 4
    # Where an array of this size comes to lie next, a filler as long as what is missing to the
    # boundary moves it there. The filler is free again at once.
    probe = array(kind, memory.blank(size * items))
    gap = -memory.addressof(probe) % boundary
    if not gap:
        return probe, 0
    del probe
    gc.collect()
    filler = bytearray(gap)
    found = array(kind, memory.blank(size * items))
    del filler
    if not memory.addressof(found) % boundary:
        return found, 0
    del found
    gc.collect()
    larger = array(kind, memory.blank(size * items + boundary - size))
    return larger, (-memory.addressof(larger) % boundary) // size
