"""Modules and the heap: how they come without breaking it up, and how those for one use go.

What somebody took from a module that left lives as long as whoever took it.
"""

import gc
import struct
import sys

_OURS = "clampdevice."
_LOADING_BYTES = 8192
_BLOCK = 4 * struct.calcsize("P")  # the heap's unit in bytes: a pair takes one
# Free blocks in a row that are left: a call that the chip's stack does not take needs as many.
_WIDE = 8


def loading(begins: bool) -> None:
    """Collects now and, while modules are loaded, again after every 8 KB; then when it is full.

    What an import leaves behind would lie between what stays, and keep the rest apart for ever.
    """
    gc.collect()
    threshold = getattr(gc, "threshold", None)  # CPython has none
    if threshold:
        threshold(_LOADING_BYTES if begins else -1)


def fill_holes() -> object:
    """Takes the small holes that lie before the first wide one; what it returns holds them.

    They serve nobody: each larger piece, and with it each call whose frame does not fit the chip's
    stack, is looked for from the first free block on, through all of the heap that is full behind
    it. Without them that search begins where there is room. To be called once, when all is there
    that stays.
    """
    gc.collect()
    held: tuple = ()
    run = last = 0
    while run < _WIDE:
        held = (held, None)
        at = id(held)
        if at < last:
            break  # no wide hole: the heap has begun again from its start
        run = run + 1 if at == last + _BLOCK else 1
        last = at
    for _ in range(run):
        held = held[0]
    return held


class Borrowed:
    """`with Borrowed():` the modules of the firmware that are loaded inside leave with its end."""

    def __init__(self) -> None:
        self._before: set = set()

    def __enter__(self) -> "Borrowed":
        self._before = set(sys.modules)
        return self

    def __exit__(self, *failure: object) -> None:
        for name in list(sys.modules):
            if name.startswith(_OURS) and name not in self._before:
                del sys.modules[name]
                package, own = name.rsplit(".", 1)
                if package in sys.modules and hasattr(sys.modules[package], own):
                    delattr(sys.modules[package], own)
