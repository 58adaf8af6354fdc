"""Modules for one use: off the heap again when it is over.

Owns what is forgotten. What somebody took from such a module lives as long as whoever took it.
"""

import sys

_OURS = "clampdevice."


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
