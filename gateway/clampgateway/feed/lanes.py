"""What a reader with two lanes has delivered: a live mark, backlog, and ranges put aside.

Pure. The live lane runs at the head of the log; what it left out is backlog. What is neither, a
record that came late or one whose topic the broker refuses, is put aside as a range of one
device's items, so that no cursor has to wait for it. No id is in two of these places.

The durable form has three cursors. Up to `<name>` all is delivered or put aside; from there to
`<name>.to` is backlog; from there to `<name>.live` is delivered or put aside again; what is behind
that is not. Further backlog, which comes when connections break while there is some, is kept as
ranges of no device.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from clampgateway.feed.ranges import OPEN_END, Range, Ranges
from clampgateway.model import Parked

SPANS_MAX = 64


class Span(NamedTuple):
    """Ids above `after`, up to `to`."""

    after: int
    to: int


class Lanes:
    """The account of one reader; made from its durable form, which `cursors` and `parked` give."""

    def __init__(self, cursor: int, to: int, live: int, parked: Iterable[Parked] = ()) -> None:
        to = max(cursor, to)
        self.taken = max(to, live)
        self.ranges = Ranges()
        self._spans: list[Span] = []
        self._open: deque[int] = deque()
        self._answered: set[int] = set()
        self.joined_spans = 0
        self._add(cursor, to)
        for each in parked:
            if each.device:
                self.ranges.load(each, self.taken)
            else:
                self._add(each.first_id - 1, min(each.last_id, self.taken))

    # --- the live lane --------------------------------------------------------------------------

    @property
    def open(self) -> int:
        """Items of the live lane that were sent and have no answer."""
        return len(self._open) - len(self._answered)

    def passed(self, number: int) -> None:
        """The live lane is done with all items up to this id: each sent, put aside, or nothing."""
        self.taken = number

    def sent(self, number: int) -> None:
        """An item of the live lane is on its way; ids rise."""
        self._open.append(number)
        self.taken = number

    def answered(self, number: int) -> None:
        """That item needs nothing more: it was taken, or it is put aside."""
        awaited = self._open
        if awaited and awaited[0] == number:
            awaited.popleft()
            while awaited and awaited[0] in self._answered:
                self._answered.discard(awaited.popleft())
        elif number in awaited:
            self._answered.add(number)

    def jump(self, head: int) -> int:
        """Live goes on behind `head`; what it had not sent is backlog. Returns how many ids."""
        left_out = max(0, head - self.taken)
        self._add(self.taken, head)
        self.taken = max(self.taken, head)
        self.ranges.seal_all()
        return left_out

    def lost(self) -> None:
        """The connection is gone: what was sent and not answered is backlog, and nothing else."""
        spans = [Span(number - 1, number) for number in self._open if number not in self._answered]
        self._open.clear()
        self._answered.clear()
        for span in tuple(_union(spans)):
            self._add(*span)

    # --- backlog --------------------------------------------------------------------------------

    @property
    def backlog(self) -> int:
        """Ids that are backlog, an upper bound of the items."""
        return sum(span.to - span.after for span in self._spans)

    @property
    def span(self) -> Span | None:
        """The oldest backlog."""
        return self._spans[0] if self._spans else None

    def span_after(self, number: int) -> Span | None:
        """The oldest backlog that reaches behind this id."""
        return next((span for span in self._spans if span.to > number), None)

    def backlog_done(self, up_to: int) -> None:
        """Of the oldest backlog, all up to this id is delivered or put aside."""
        if self._spans:
            first = self._spans[0]
            if up_to >= first.to:
                del self._spans[0]
            elif up_to > first.after:
                self._spans[0] = Span(up_to, first.to)

    def _add(self, after: int, to: int) -> None:
        if after >= to:
            return
        self._spans = list(_union([*self._spans, Span(after, to)]))
        while len(self._spans) > SPANS_MAX:
            # What is between two of them comes again; the nearest pair costs least.
            gaps = [b.after - a.to for a, b in zip(self._spans, self._spans[1:], strict=False)]
            at = gaps.index(min(gaps))
            self._spans[at : at + 2] = [Span(self._spans[at].after, self._spans[at + 1].to)]
            self.joined_spans += 1

    # --- the durable form -----------------------------------------------------------------------

    def cursors(self) -> tuple[int, int, int]:
        """`<name>`, `<name>.to` and `<name>.live`."""
        spans, live = self._undelivered()
        return (spans[0].after, spans[0].to, live) if spans else (live, live, live)

    def parked(self) -> tuple[Parked, ...]:
        """All that is put aside, and backlog behind the oldest."""
        spans, _live = self._undelivered()
        if len(spans) < 2:
            return self.ranges.parked()
        more = [Parked("", "", 0, span.after + 1, span.to, 0) for span in spans[1:]]
        return (*more, *self.ranges.parked())

    def places(self) -> list[int]:
        """Where this reader stands or will stand; the lowest is how far all is delivered."""
        spans, live = self._undelivered()
        out = [live, self.taken]
        for span in spans:
            out += span
        for each in self.ranges:
            out += (each.first - 1, each.last)
        return out

    def delivered(self, device: str, up_to: int) -> bool:
        """Whether all of a device up to this id is delivered, but for what the broker refuses."""
        spans, live = self._undelivered()
        if live < up_to or (spans and spans[0].after < up_to):
            return False
        return not self.ranges.waits(device, up_to)

    def _undelivered(self) -> tuple[list[Span], int]:
        if not self._open:
            return self._spans, self.taken
        low, high = self._open[0] - 1, self._open[-1]
        if not self._spans or self._spans[-1].to <= low:
            return self._spans, low
        # Live jumped while these had no answer.
        return list(_union([*self._spans, Span(low, high)])), self.taken


def _union(spans: Iterable[Span]) -> Iterator[Span]:
    """The same ids as spans that neither touch nor overlap, rising."""
    last: Span | None = None
    for span in sorted(spans):
        if last is None:
            last = span
        elif span.after <= last.to:
            last = Span(last.after, max(last.to, span.to))
        else:
            yield last
            last = span
    if last is not None:
        yield last


__all__ = ["OPEN_END", "SPANS_MAX", "Lanes", "Range", "Span"]
