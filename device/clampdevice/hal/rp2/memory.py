"""Buffers at addresses that a DMA ring can wrap at.

A ring of 2**n bytes must begin at a multiple of 2**n, and MicroPython's heap promises multiples
of 16. Owns the search for such a place; gives no more of the heap away than it must.
"""

import gc
from array import array

_FILLERS_MAX = 32


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
    size = items * (2 if kind == "H" else 4)
    gc.collect()
    start = _where(kind, size, memory)
    gc.collect()
    # The heap gives the first place that is large enough. Fillers as long as what is missing to
    # the boundary take the smaller holes before that place, then the place itself; what comes
    # next lies at the boundary, if enough is free there. The fillers are free again then.
    gap = -start % boundary
    fillers: list = []
    while gap and len(fillers) < _FILLERS_MAX:
        fillers.append(bytearray(gap))
        if memory.addressof(fillers[-1]) >= start:
            break
    found = array(kind, memory.blank(size))
    if not memory.addressof(found) % boundary:
        return found, 0
    del fillers, found
    gc.collect()
    larger = array(kind, memory.blank(size + boundary - size // items))
    return larger, -memory.addressof(larger) % boundary // (size // items)


def _where(kind: str, size: int, memory) -> int:
    """Where an array of `size` bytes comes to lie; a function, so that no stack remembers it."""
    return memory.addressof(array(kind, memory.blank(size)))
