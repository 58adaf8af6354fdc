"""One power-up of a device in the ledger: its spans, what gaps told of it, and when it was.

Pure. Owns how one item changes the spans.
"""

from __future__ import annotations

from clampgateway.ledger.spans import Span, Spans, unwound
from clampgateway.ledger.told import Told, ToldRanges


class PowerUp:
    """`zero_ms` is UTC when the device was switched on, told by the item `zero_of`; 0 unknown."""

    __slots__ = ("boot", "near", "spans", "told", "zero_ms", "zero_of")

    def __init__(self, boot: int, near: int) -> None:
        self.boot = boot
        self.near = near
        self.spans = Spans()
        self.told = ToldRanges()
        self.zero_of = 0
        self.zero_ms = 0

    def number(self, seq: int) -> int:
        """`seq` unwound: it may have begun again at 0 in this power-up."""
        return unwound(seq, self.near)

    @property
    def first(self) -> int:
        """The lowest number known. Only if there is one."""
        ends = [each[0].first for each in (self.spans.runs, self.told.ranges) if each]
        return min(ends)

    @property
    def last(self) -> int:
        ends = [each[-1].last for each in (self.spans.runs, self.told.ranges) if each]
        return max(ends)

    def began(self, number: int, zero_ms: int) -> None:
        """An item with a certain time says when the power-up began; the lowest one counts."""
        if not self.zero_ms or number <= self.zero_of:
            self.zero_of, self.zero_ms = number, zero_ms

    def put(self, number: int, day: int, utc_ms: int, *, late: bool) -> bool:
        """An item came; whether it is news. Within a condensed record's span it counts as that."""
        self.near = number
        span = self.spans.at(number)
        if span is None:
            self.spans.add(Span(number, number, day, utc_ms, utc_ms, 1, late=late))
            return True
        if span.received >= span.size or not (span.condensed or span.unnamed):
            return False
        span.received += 1
        span.unnamed -= bool(span.unnamed)
        return True

    def put_condensed(
        self, first: int, last: int, day: int, from_ms: int, utc_ms: int, *, late: bool
    ) -> bool:
        """A record came that stands for `first` to `last` and has the number `last`."""
        self.near = last
        news = False
        at = first
        received: dict[int, int] = {}
        for span in self.spans.within(first, last):
            if span.condensed:
                if span.first > at:
                    came = received.get(at, 0)
                    self._cover(at, span.first - 1, came, day, from_ms, utc_ms, late)
                    news = True
                at = span.last + 1
                if span.last >= last and span.received < span.size:
                    span.received += 1
                    news = True
                continue
            inner = self.spans.cut(span, max(span.first, first), min(span.last, last))
            received[at] = received.get(at, 0) + inner.received
        if at <= last:
            # Its own number came, too; if it had come before, it is among those that were cut out.
            own = received.get(at, 0) + 1
            self._cover(at, last, min(own, last - at + 1), day, from_ms, utc_ms, late)
            news = True
        return news

    def _cover(
        self,
        first: int,
        last: int,
        received: int,
        day: int,
        from_ms: int,
        utc_ms: int,
        late: bool,
    ) -> None:
        self.spans.add(
            Span(first, last, day, from_ms, utc_ms, received, condensed=True, late=late)
        )

    def restamp(self, number: int, day: int, utc_ms: int) -> None:
        """An item has another time now. It is not late: nobody knew its time when it came."""
        span = self.spans.at(number)
        if span is None or span.condensed or (span.day == day and not span.late):
            return
        self.spans.cut(span, number, number, 1)
        self.spans.add(Span(number, number, day, utc_ms, utc_ms, 1))

    def restamp_condensed(
        self, first: int, last: int, day: int, times_ms: tuple[int, int], received: int | None
    ) -> None:
        """The same of a condensed record; `received` items came within its span, if known."""
        for span in self.spans.within(first, last):
            if not span.condensed or (span.day == day and not span.late):
                continue
            low, high = max(span.first, first), min(span.last, last)
            known = received if (low, high) == (first, last) else None
            inner = self.spans.cut(span, low, high, known)
            self._cover(low, high, inner.received, day, *times_ms, late=False)

    def tell(self, told: Told) -> None:
        """A gap names numbers of this power-up."""
        self.told.add(told)
        if not self.spans.runs:
            self.near = told.last

    @property
    def end_ms(self) -> int:
        """UTC when the last item ended that has a time; 0 without one."""
        return max((span.to_ms for span in self.spans.runs), default=0)
