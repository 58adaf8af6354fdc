"""Which numbers gaps have told to be lost, and why. Pure; numbers are unwound, as in `spans.py`.

The same range may be told more than once, with other reasons, or wider than it was: the order in
which gaps come changes nothing here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

NEVER = 1 << 40


class Told(NamedTuple):
    """A range that was told. `day` is that of the gap which told it.

    Where two name a number, the lower (reason, day) holds; day 0, not known, is the highest.
    """

    first: int
    last: int
    reason: int
    day: int


class Cut(NamedTuple):
    """A gap that goes to the end: all from (boot, first) up to, not with, (to_boot, end)."""

    boot: int
    first: int
    to_boot: int
    end: int
    reason: int
    day: int

    def of(self, boot: int) -> tuple[int | None, int | None] | None:
        """(first, last) of what it names in a power-up, None for an open end; None for nothing."""
        if not self.boot <= boot <= self.to_boot:
            return None
        first = self.first if boot == self.boot else None
        last = self.end - 1 if boot == self.to_boot else None
        return first, last


class ToldRanges:
    """Those of one power-up, disjoint and in order."""

    __slots__ = ("ranges",)

    def __init__(self) -> None:
        self.ranges: list[Told] = []

    def add(self, new: Told) -> None:
        """A gap tells of numbers `new.first` to `new.last`."""
        ranges = self.ranges
        low = bisect_left(ranges, new.first - 1, key=_last_of)
        high = low
        while high < len(ranges) and ranges[high].first <= new.last + 1:
            high += 1
        out: list[Told] = []
        at = new.first
        for old in ranges[low:high]:
            if old.first > at:
                _append(out, new._replace(first=at, last=min(old.first - 1, new.last)))
            _append_overlap(out, old, new)
            at = max(at, old.last + 1)
        if at <= new.last:
            _append(out, new._replace(first=at))
        ranges[low:high] = out

    def split(
        self, first: int, last: int, cuts: list[Cut], boot: int
    ) -> Iterator[tuple[int, int, int, int]]:
        """(first, last, reason, day) of the parts of a range; reason 0 where nobody told one."""
        marks = {first, last + 1}
        near = [told for told in self.ranges if told.last >= first and told.first <= last]
        for told in near:
            marks |= {told.first, told.last + 1}
        wide: list[Told] = []
        for cut in cuts:
            named = cut.of(boot)
            if named is None:
                continue
            low = first if named[0] is None else named[0]
            high = last if named[1] is None else named[1]
            wide.append(Told(low, high, cut.reason, cut.day))
            marks |= {low, high + 1}
        inside = sorted(mark for mark in marks if first <= mark <= last + 1)
        for low, end in pairwise(inside):
            naming = [
                (told.reason, told.day)
                for told in (*near, *wide)
                if told.first <= low and end - 1 <= told.last
            ]
            reason, day = min(naming, key=_rank, default=(0, 0))
            yield low, end - 1, reason, day


def _append_overlap(out: list[Told], old: Told, new: Told) -> None:
    """`old` with what `new` says of its numbers."""
    low, high = max(old.first, new.first), min(old.last, new.last)
    if high < low:
        _append(out, old)
        return
    if old.first < low:
        _append(out, old._replace(last=low - 1))
    reason, day = min(old[2:], new[2:], key=_rank)
    _append(out, Told(low, high, reason, day))
    if old.last > high:
        _append(out, old._replace(first=high + 1))


def _append(out: list[Told], told: Told) -> None:
    if out and out[-1].last + 1 == told.first and out[-1][2:] == told[2:]:
        out[-1] = out[-1]._replace(last=told.last)
    else:
        out.append(told)


def _rank(naming: tuple[int, int]) -> tuple[int, int]:
    reason, day = naming
    return reason, day or NEVER


def _last_of(told: Told) -> int:
    return told.last
