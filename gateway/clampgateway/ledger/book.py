"""The ledger of one device: its power-ups in memory, and the days that follow from them.

Pure. Memory holds the last days whole; what is older lies in rows of the store, one a day, and
comes back all at once (`whole`) when something happens to it. A day whose row is not wholly here
is closed: it is never written from what is left in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from clampgateway.ledger import content
from clampgateway.ledger.content import Day, Kept, KeptPowerUp
from clampgateway.ledger.powerup import PowerUp
from clampgateway.ledger.spans import DAY_MS, DAYS_MAX, SEQ_MASK, Hole, Span
from clampgateway.ledger.told import Cut, Told

KEPT_DAYS = 3
TOLD_MAX = 4096


class Place(NamedTuple):
    """A number of a power-up; places are ordered as they were made."""

    boot: int
    number: int


class Book:
    """What is known of one device. `floor` and `day_floor`: all from there on is in memory."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.power_ups: dict[int, PowerUp] = {}
        self.cuts: list[Cut] = []
        self.redelivered: dict[int, int] = {}
        self.whole = True
        self.floor = Place(0, 0)
        self.day_floor = 0
        self.zero_closed = False
        self.told_left_out = 0
        self.written: dict[int, int] = {}

    # --- what happens to it ---------------------------------------------------------------------

    def reaches(self, place: Place, day: int) -> bool:
        """Whether all that an item there could change is in memory."""
        return self.whole or (place >= self.floor and not self.closed(day))

    def closed(self, day: int) -> bool:
        """Whether this day's row lies in the store and only in part here."""
        return not self.whole and (day < self.day_floor if day else self.zero_closed)

    def power_up(self, boot: int, near: int) -> PowerUp:
        """The power-up, made at its first number."""
        known = self.power_ups.get(boot)
        if known is None:
            known = self.power_ups[boot] = PowerUp(boot, near)
        return known

    def tell(self, boot: int, told: Told) -> None:
        """A gap names numbers, unwound. Of a device that tells too many the rest is counted."""
        known = self.power_ups.get(boot)
        if known is not None and len(known.told.ranges) >= TOLD_MAX:
            self.told_left_out += 1
        else:
            self.power_up(boot, told.last).tell(told)

    def cut(self, cut: Cut) -> None:
        """A gap goes to the end of a power-up, and of all before its own place."""
        same = [each for each in self.cuts if each[:5] == cut[:5]]
        if same:
            self.cuts.remove(same[0])
            cut = min(cut, same[0], key=lambda each: each.day or DAY_MS)
        self.cuts.append(cut)
        self.cuts.sort()

    def head(self) -> tuple[int, int]:
        """(boot, seq) of the highest number of the newest power-up; 0, 0 without any."""
        if not self.power_ups:
            return 0, 0
        newest = self.power_ups[max(self.power_ups)]
        return newest.boot, newest.last & SEQ_MASK

    # --- what it says ---------------------------------------------------------------------------

    def days(self) -> dict[int, Day]:
        """All days that are not closed."""
        days: dict[int, Day] = {}
        for power_up in self.power_ups.values():
            for span in power_up.spans.runs:
                day = _day(days, span.day)
                day.expected += span.size
                day.received += span.received
                day.late += span.received if span.late else 0
                day.pending += span.unnamed
                if span.condensed:
                    day.condensed += span.size - span.received - span.unnamed
                if span.unnamed:
                    _list(day, power_up.boot, span.first, span.last, span.unnamed, 0)
        for boot in sorted(self.power_ups):
            for number, first, last, reason in self._missing(self.power_ups[boot]):
                _missing(_day(days, number), boot, first, last, reason)
        for number, begin_ms, end_ms in self._absences():
            # To the second below: a sum of roundings would not be the whole.
            _day(days, number).absent_s += end_ms // 1000 - begin_ms // 1000
        for number, count in self.redelivered.items():
            _day(days, number).redelivered += count
        return {number: days[number] for number in sorted(days) if not self.closed(number)}

    def _missing(self, power_up: PowerUp) -> Iterator[tuple[int, int, int, int]]:
        """(day, first, last, reason) of what did not come."""
        if not power_up.spans.runs and not power_up.told.ranges:
            return
        for hole in power_up.spans.holes(power_up.first, power_up.last):
            for first, last, reason, told_day in power_up.told.split(
                hole.first, hole.last, self.cuts, power_up.boot
            ):
                if hole.above is None and reason:
                    yield told_day, first, last, reason
                elif hole.above is None and hole.below is None:
                    yield power_up.told.ranges[-1].day, first, last, reason
                else:
                    part = Hole(first, last, hole.below, hole.above)
                    for number, low, high in part.by_day():
                        yield number, low, high, reason

    def _absences(self) -> Iterator[tuple[int, int, int]]:
        """(day, begin, end) in UTC ms of the times between two power-ups that are both dated."""
        last_end_ms = 0
        for boot in sorted(self.power_ups):
            power_up = self.power_ups[boot]
            begin_ms, end_ms = power_up.zero_ms, power_up.end_ms
            if not power_up.spans.runs:
                continue  # nothing of it came: it is part of the absence
            days = begin_ms // DAY_MS - last_end_ms // DAY_MS
            if last_end_ms and begin_ms > last_end_ms and days <= DAYS_MAX:
                yield from _by_day(last_end_ms, begin_ms)
            last_end_ms = end_ms if begin_ms else 0

    # --- rows of the store ----------------------------------------------------------------------

    def rows(self) -> dict[int, bytes]:
        """The rows of all days that are not closed."""
        told = [
            (power_up.boot, each)
            for power_up in self.power_ups.values()
            for each in power_up.told.ranges
        ]
        days = self.days()
        # Also a day that has become empty has a row to be replaced.
        named = {each.day for _boot, each in told} | {cut.day for cut in self.cuts}
        for number in sorted(named | set(self.written)):
            if not self.closed(number):
                _day(days, number)
        kept = {
            number: Kept(content.VERSION, day, [], [c[:5] for c in self.cuts if c.day == number])
            for number, day in days.items()
        }
        for boot in sorted(self.power_ups):
            power_up = self.power_ups[boot]
            parts: dict[int, KeptPowerUp] = {}
            for span in power_up.spans.runs:
                if span.day in kept:
                    _part(parts, span.day, power_up).spans.append(_packed(span))
            for each in power_up.told.ranges:
                if each.day in kept:
                    _part(parts, each.day, power_up).told.append(each[:3])
            for number, part in parts.items():
                kept[number].power_ups.append(part)
        return {number: content.pack(each) for number, each in kept.items()}

    def changed_rows(self) -> dict[int, bytes]:
        """The rows that differ from what was written last."""
        return {
            day: body for day, body in self.rows().items() if self.written.get(day) != hash(body)
        }

    def wrote(self, rows: Mapping[int, bytes]) -> None:
        """These rows are durable."""
        self.written.update({day: hash(body) for day, body in rows.items()})

    @classmethod
    def of_rows(cls, device: str, rows: Mapping[int, bytes]) -> Book:
        """The whole book of a device, as its rows say. Raises LedgerError."""
        book = cls(device)
        for day in sorted(rows):
            book._take_row(day, content.unpack(device, day, rows[day]))
        for power_up in book.power_ups.values():
            power_up.spans.runs.sort(key=lambda span: span.first)
            power_up.told.ranges.sort()
            power_up.near = power_up.last
        book.cuts.sort()
        return book

    def _take_row(self, day: int, kept: Kept) -> None:
        if kept.day.redelivered:
            self.redelivered[day] = kept.day.redelivered
        self.cuts += [Cut(*cut, day) for cut in kept.cuts]
        for part in kept.power_ups:
            power_up = self.power_up(part.boot, 0)
            if part.zero_ms:
                power_up.began(part.zero_of, part.zero_ms)
            power_up.told.ranges += [Told(*told, day) for told in part.told]
            power_up.spans.runs += [_unpacked(day, span) for span in part.spans]

    # --- memory ---------------------------------------------------------------------------------

    def close_old(self) -> None:
        """Let go of all but the last days; its rows must be written. `whole` ends if any goes."""
        dated = [s.day for p in self.power_ups.values() for s in p.spans.runs]
        keep_from = max(dated, default=0) - KEPT_DAYS + 1
        if keep_from <= 0 or (not self.whole and keep_from <= self.day_floor):
            return
        floor = hole = min(self._places(keep_from))
        zero_gone = self.zero_closed and not self.whole
        lower = [boot for boot, p in self.power_ups.items() if boot < floor.boot and p.spans.runs]
        previous = max(lower, default=-1)
        for boot in [boot for boot in sorted(self.power_ups) if boot <= floor.boot]:
            power_up = self.power_ups[boot]
            low = floor.number if boot == floor.boot else power_up.last + 1
            old = [span for span in power_up.spans.runs if span.first < low]
            kept = old[-1:] if boot == floor.boot else []
            if boot == previous and old:
                # The time until the next power-up begins where this one ended.
                kept = [max(old, key=lambda span: span.to_ms)]
            if boot == floor.boot:
                # What explains the hole below the floor stays: it may belong to a kept day.
                low = kept[0].first if kept else power_up.first
                hole = Place(boot, low)
            told = [each for each in power_up.told.ranges if each.last < low]
            zero_gone |= any(not each.day for each in (*old, *told))
            power_up.spans.runs = [*kept, *power_up.spans.runs[len(old) :]]
            power_up.told.ranges = power_up.told.ranges[len(told) :]
            if not power_up.spans.runs and not power_up.told.ranges:
                del self.power_ups[boot]
        self.cuts = [c for c in self.cuts if c.day >= keep_from or (c.to_boot, c.end) > hole]
        self.redelivered = {
            d: n for d, n in self.redelivered.items() if d >= keep_from or not (d or zero_gone)
        }
        self.written = {d: each for d, each in self.written.items() if d >= keep_from or not d}
        self.whole = False
        self.day_floor, self.zero_closed = keep_from, zero_gone
        self.floor = self._settled()

    def _settled(self) -> Place:
        """Above the last span of a closed day: what comes between two may change such a day."""
        floor: Place | None = None
        for boot in sorted(self.power_ups):
            for span in self.power_ups[boot].spans.runs:
                if self.closed(span.day):
                    floor = None
                elif floor is None:
                    floor = Place(boot, span.first)
        return floor or Place(1 << 32, 0)

    def _places(self, day: int) -> Iterator[Place]:
        """Where everything begins that belongs to this day or a later one."""
        for power_up in self.power_ups.values():
            for runs in (power_up.spans.runs, power_up.told.ranges):
                yield from (Place(power_up.boot, each.first) for each in runs if each.day >= day)
        yield from (Place(cut.boot, cut.first) for cut in self.cuts if cut.day >= day)


def _day(days: dict[int, Day], number: int) -> Day:
    if number not in days:
        days[number] = Day(content.day_name(number))
    return days[number]


def _missing(day: Day, boot: int, first: int, last: int, reason: int) -> None:
    count = last - first + 1
    day.expected += count
    if reason:
        day.lost += count
    else:
        day.pending += count
    _list(day, boot, first, last, count, reason)


def _list(day: Day, boot: int, first: int, last: int, n: int, reason: int) -> None:
    ranges = day.lost_ranges if reason else day.pending_ranges
    if len(ranges) < content.RANGES_MAX:
        ranges += content.missing_of(boot, first, last, n, reason)
    else:
        day.more += 1


def _by_day(begin_ms: int, end_ms: int) -> Iterable[tuple[int, int, int]]:
    for day in range(begin_ms // DAY_MS, end_ms // DAY_MS + 1):
        yield day, max(begin_ms, day * DAY_MS), min(end_ms, (day + 1) * DAY_MS)


def _part(parts: dict[int, KeptPowerUp], day: int, power_up: PowerUp) -> KeptPowerUp:
    if day not in parts:
        parts[day] = KeptPowerUp(power_up.boot, power_up.zero_of, power_up.zero_ms, [], [])
    return parts[day]


def _packed(span: Span) -> tuple[int, int, int, int, int, bool, bool, int]:
    return (
        span.first,
        span.last,
        span.from_ms,
        span.to_ms,
        span.received,
        span.condensed,
        span.late,
        span.unnamed,
    )


def _unpacked(day: int, kept: tuple[int, int, int, int, int, bool, bool, int]) -> Span:
    first, last, from_ms, to_ms, received, condensed, late, unnamed = kept
    return Span(
        first,
        last,
        day,
        from_ms,
        to_ms,
        received,
        condensed=condensed,
        late=late,
        unnamed=unnamed,
    )
