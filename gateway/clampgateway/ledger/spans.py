"""The numbers of one power-up: which came, which a condensed record stands for, which lack.

Pure. Owns runs of numbers and what splits and joins them. Numbers here are unwound: they go on
above 2**32 - 1 where `seq` begins again at 0, so that they can be compared.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

DAY_MS = 86_400_000
# A time that jumps by more than this is a clock's mistake, and not spread over its days.
DAYS_MAX = 400
SEQ_MASK = 0xFFFFFFFF
_HALF = 1 << 31


class Span:
    """Numbers `first` to `last`, all of one UTC day and one sort.

    `received` of them came as themselves. The rest are stood for by condensed records if
    `condensed`; `unnamed` of them are missing, of which is not known which. `from_ms` and `to_ms`
    are the ends of the first and last item, UTC; 0 on day 0, where no time is known.
    """

    __slots__ = (
        "condensed",
        "day",
        "first",
        "from_ms",
        "last",
        "late",
        "received",
        "to_ms",
        "unnamed",
    )

    def __init__(
        self,
        first: int,
        last: int,
        day: int,
        from_ms: int,
        to_ms: int,
        received: int,
        *,
        condensed: bool = False,
        late: bool = False,
        unnamed: int = 0,
    ) -> None:
        self.first = first
        self.last = last
        self.day = day
        self.from_ms = from_ms
        self.to_ms = to_ms
        self.received = received
        self.condensed = condensed
        self.late = late
        self.unnamed = unnamed

    @property
    def size(self) -> int:
        return self.last - self.first + 1

    def like(self, other: Span) -> bool:
        """Whether both may be one run."""
        return (
            self.day == other.day and self.condensed == other.condensed and self.late == other.late
        )

    def time_of(self, number: int) -> int:
        """About when this number's interval ended, UTC ms: evenly spread."""
        if self.last == self.first:
            return self.to_ms
        share = (number - self.first) * (self.to_ms - self.from_ms)
        return self.from_ms + share // (self.last - self.first)

    def part(self, first: int, last: int) -> Span:
        """A piece of it; what came is shared out evenly where it is not known exactly."""
        size, whole = last - first + 1, self.size
        return Span(
            first,
            last,
            self.day,
            self.time_of(first) if self.day else 0,
            self.time_of(last) if self.day else 0,
            self.received * size // whole,
            condensed=self.condensed,
            late=self.late,
            unnamed=-(-self.unnamed * size // whole),
        )


class Hole(NamedTuple):
    """Numbers `first` to `last` that are in no span, between two that are; None at an end."""

    first: int
    last: int
    below: Span | None
    above: Span | None

    def by_day(self) -> Iterator[tuple[int, int, int]]:
        """(day, first, last) of its parts, evenly spread in the time between its neighbours.

        Without two times, all of it is on the day of the neighbour that has one.
        """
        below, above = self.below, self.above
        if above is None or below is None:
            neighbour = above or below
            yield (neighbour.day if neighbour is not None else 0), self.first, self.last
            return
        begin_ms, end_ms = below.to_ms, above.from_ms
        days = above.day - below.day
        if not below.day or not above.day or not 0 < days <= DAYS_MAX or end_ms <= begin_ms:
            yield above.day or below.day, self.first, self.last
            return
        steps, first = above.first - below.last, self.first
        for day in range(below.day, above.day):
            # The first number whose time is in the next day.
            until = below.last - (-((day + 1) * DAY_MS - begin_ms) * steps // (end_ms - begin_ms))
            until = min(until, self.last + 1)
            if until > first:
                yield day, first, until - 1
                first = until
        if first <= self.last:
            yield above.day, first, self.last


class Spans:
    """All spans of a power-up, in order and disjoint."""

    __slots__ = ("runs",)

    def __init__(self, runs: list[Span] | None = None) -> None:
        self.runs = runs or []

    def at(self, number: int) -> Span | None:
        """The span that holds this number."""
        index = bisect_right(self.runs, number, key=_first_of) - 1
        if index >= 0 and self.runs[index].last >= number:
            return self.runs[index]
        return None

    def add(self, span: Span) -> Span:
        """Insert a span that meets no other; returns the run it is part of now."""
        runs = self.runs
        index = bisect_right(runs, span.first, key=_first_of)
        if span.condensed and not span.day:
            # It will get its time as it came, and with it the items that came within it.
            runs.insert(index, span)
            return span
        if index < len(runs) and runs[index].first == span.last + 1 and span.like(runs[index]):
            above = runs.pop(index)
            span.last, span.to_ms = above.last, above.to_ms
            span.received += above.received
            span.unnamed += above.unnamed
        if index and runs[index - 1].last == span.first - 1 and span.like(runs[index - 1]):
            below = runs[index - 1]
            below.last, below.to_ms = span.last, span.to_ms
            below.received += span.received
            below.unnamed += span.unnamed
            return below
        runs.insert(index, span)
        return span

    def within(self, first: int, last: int) -> list[Span]:
        """The spans that have a number from `first` to `last`, lowest first."""
        index = max(0, bisect_right(self.runs, first, key=_first_of) - 1)
        found = []
        for span in self.runs[index:]:
            if span.first > last:
                break
            if span.last >= first:
                found.append(span)
        return found

    def cut(self, span: Span, first: int, last: int, received: int | None = None) -> Span:
        """Take numbers `first` to `last`, which are in `span`, out of it; returns them.

        `received`: how many of them came as themselves, where that is known.
        """
        index = self.runs.index(span)
        inner = span.part(first, last)
        if received is not None:
            least = span.received - (span.size - inner.size)
            inner.received = min(max(received, least, 0), inner.size, span.received)
        inner.unnamed = min(inner.unnamed, span.unnamed, inner.size - inner.received)
        left = span.part(span.first, first - 1) if first > span.first else None
        right = span.part(last + 1, span.last) if last < span.last else None
        rest = span.received - inner.received
        missing = span.unnamed - inner.unnamed
        outer = [each for each in (left, right) if each is not None]
        for each in outer:
            last_one = each is outer[-1]
            each.received = rest if last_one else min(each.received, rest)
            if not last_one:
                assert right is not None
                each.received = max(each.received, rest - right.size)
            rest -= each.received
            free = each.size - each.received
            each.unnamed = min(missing, free) if last_one else min(each.unnamed, missing, free)
            missing -= each.unnamed
        self.runs[index : index + 1] = outer
        return inner

    def holes(self, first: int, last: int) -> Iterator[Hole]:
        """What is in no span from `first` to `last`, both at or beyond the outermost spans."""
        below: Span | None = None
        at = first
        for span in self.runs:
            if span.first > at:
                yield Hole(at, span.first - 1, below, span)
            below, at = span, span.last + 1
        if at <= last:
            yield Hole(at, last, below, None)


def unwound(seq: int, near: int) -> int:
    """The number whose last 32 bits are `seq`, and that is next to `near`."""
    return near + ((seq - near + _HALF) & SEQ_MASK) - _HALF


def _first_of(span: Span) -> int:
    return span.first
