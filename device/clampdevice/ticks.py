"""Differences of times without heap: the plain form, and the compiled one where there is any.

Ticks are microseconds modulo 2**30, small integers on the chips, where every number from 2**30 on
is an object on the heap, and whatever is computed from one is another. Differences are good for
8.9 minutes either way.
"""

TICKS_MASK = 0x3FFFFFFF
_HALF = 0x20000000


def ticks_diff(end: int, start: int) -> int:
    """`end` - `start` of two ticks, signed; either may be any time in microseconds, too."""
    return ((end - start + _HALF) & TICKS_MASK) - _HALF


try:
    from clampdevice.ticks_viper import ticks_diff
except (ImportError, SyntaxError):
    pass  # no MicroPython, or one without native code

__all__ = ("TICKS_MASK", "ticks_diff")
