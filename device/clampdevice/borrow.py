"""Modules and the heap: how they come without breaking it up, and how those for one use go.

What somebody took from a module that left lives as long as whoever took it.
"""

import gc
import sys

_OURS = "clampdevice."
_LOADING_BYTES = 8192


def loading(begins: bool) -> None:
    """Collects now and, while modules are loaded, again after every 8 KB; then when it is full.

    What an import leaves behind would lie between what stays, and keep the rest apart for ever.
    """
    gc.collect()
    threshold = getattr(gc, "threshold", None)  # CPython has none
    if threshold:
        threshold(_LOADING_BYTES if begins else -1)


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
