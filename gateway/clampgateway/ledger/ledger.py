"""Completeness as numbers: what was expected of each device and day, what came, and what lacks.

Pure: fed with the committed log in order, each entry once; what has to be read from the store is
told as a `Need`. Owns the way of an item into the book of its device, and nothing that waits.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from clampgateway import model
from clampgateway.ledger import content
from clampgateway.ledger.book import Book, Place
from clampgateway.ledger.content import Day
from clampgateway.ledger.spans import DAY_MS, SEQ_MASK, Span, unwound
from clampgateway.ledger.thin import thin
from clampgateway.ledger.told import Cut, Told
from clampgateway.model import GAP, RECORD, RESTAMPED, STORE_FULL, Item, Stored
from clampwire import messages
from clampwire.codec import Codec, WireError

_log = logging.getLogger(__name__)

LATE_MS = 60_000
DAYS_PUBLISHED = 7
# Runs of numbers that one device may have in memory; beyond, the smallest holes lose their names.
SPANS_MAX = 4096
# So many numbers before a restamped range are read again, for the items within condensed records.
RESTAMP_MARGIN = 256
# Of a Record its windows and the length of its flags; of a Gap its reason.
_WINDOWS_AT = _REASON_AT = 14
_FLAGS_AT = 16
_CODEC = Codec()


class Need(NamedTuple):
    """What has to be read before the log can go on.

    All rows of `device` for `load`, if `boot` is -1; else the items `first` to `last` of `boot`,
    whose times were corrected, for `restamp`.
    """

    device: str
    boot: int = -1
    first: int = 0
    last: int = 0


class Head:
    """Where a device's items go on as a rule: the next number, on the same day, in one span."""

    __slots__ = ("boot", "day_ends_ms", "day_from_ms", "next_seq", "span")

    def __init__(self, boot: int, next_seq: int, span: Span) -> None:
        self.boot = boot
        self.next_seq = next_seq
        self.span = span
        self.day_from_ms = span.day * DAY_MS
        self.day_ends_ms = self.day_from_ms + DAY_MS


class Ledger:
    """The books of all devices. `up_to` is the id of the last entry of the log that is in them.

    Counters: `again`, items that were in already; `unreadable`, gaps that do not decode.
    """

    def __init__(self, up_to: int = 0, spans_max: int = SPANS_MAX) -> None:
        self.up_to = up_to
        self._spans_max = spans_max
        self.again = 0
        self.unreadable = 0
        self.thinned = 0
        self.restamped = 0
        self._books: dict[str, Book] = {}
        self._heads: dict[str, Head] = {}
        self._clock_ms = 0

    # --- in -------------------------------------------------------------------------------------

    def take(self, batch: Sequence[Stored], now_ms: int) -> Need | None:
        """Entries of the log, in order; those up to `up_to` are passed over.

        `now_ms` is UTC at which they were committed, 0 if that is not known: then what is late is
        told by the times in the log itself. Returns what is needed before the same batch can be
        given again; None when all of it is in.
        """
        start = bisect_right(batch, self.up_to, key=_id_of)
        heads = self._heads
        clock_ms = now_ms or self._clock_ms
        try:
            for number, item in batch[start:]:
                device, boot, seq, kind, _end_ms, utc_ms, synced, _crc, payload, rev = item
                if not now_ms and synced and utc_ms > clock_ms:
                    clock_ms = utc_ms
                head = heads.get(device)
                if (
                    head is not None
                    and head.next_seq == seq
                    and head.boot == boot
                    and kind < GAP
                    and synced
                    and head.day_from_ms <= utc_ms < head.day_ends_ms
                    and (clock_ms - utc_ms > LATE_MS) is head.span.late
                    and (kind != RECORD or not _before(payload))
                    and not rev
                ):
                    # Of the fast path nothing may be left out that `_put` does for such an item.
                    span = head.span
                    span.last += 1
                    span.received += 1
                    span.to_ms = utc_ms
                    head.next_seq = seq + 1 & SEQ_MASK
                else:
                    need = self._put(item, clock_ms)
                    if need is not None:
                        return need
                self.up_to = number
        finally:
            self._clock_ms = max(self._clock_ms, clock_ms)
        return None

    def _put(self, item: Item, clock_ms: int) -> Need | None:
        """Any entry of the log."""
        device = item.device
        book = self._books.get(device)
        if book is None:
            return Need(device)
        head = self._heads.pop(device, None)
        if head is not None:
            # What the fast path did not tell it.
            book.power_ups[head.boot].near = head.span.last
        if item.kind == RESTAMPED:
            return Need(device, *model.restamped_range(item)) if book.whole else Need(device)
        day = item.utc_ms // DAY_MS if item.synced else 0
        power_up = book.power_ups.get(item.boot)
        number = power_up.number(item.seq) if power_up is not None else item.seq
        before = _before(item.payload) if item.kind == RECORD else 0
        if not book.reaches(Place(item.boot, number - before), day):
            return Need(device)
        if item.kind == GAP:
            told = self._gap(book, item, number, day)
            if told is not None:
                return told
            if _by_gateway(item):
                return None
        late = bool(day) and not item.rev and clock_ms - item.utc_ms > LATE_MS
        self._enter(book, item, number, before, day, late=late)
        return None

    def _enter(
        self, book: Book, item: Item, number: int, before: int, day: int, *, late: bool
    ) -> None:
        utc_ms = item.utc_ms if day else 0
        power_up = book.power_up(item.boot, number)
        if day:
            power_up.began(number, utc_ms - item.end_ms)
        if before:
            first_ms = _first_ms(item, before) if day else 0
            news = power_up.put_condensed(
                number - before, number, day, first_ms, utc_ms, late=late
            )
        else:
            news = power_up.put(number, day, utc_ms, late=late)
        self.again += not news
        if len(power_up.spans.runs) > self._spans_max:
            self.thinned += thin(power_up, book.cuts, self._spans_max)
        span = power_up.spans.runs[-1]
        if day and span.last == number and not span.condensed:
            self._heads[item.device] = Head(item.boot, item.seq + 1 & SEQ_MASK, span)

    def _gap(self, book: Book, item: Item, number: int, day: int) -> Need | None:
        """What a gap tells: of numbers; one of samples alone is an item as any other."""
        try:
            _name, gap = _CODEC.decode(item.payload)
        except WireError as error:
            self.unreadable += 1
            _log.error("a gap cannot be read item=%s/%d/%d: %s", *item[:3], error)
            return None
        of_boot = gap.of_boot or item.boot
        power_up = book.power_ups.get(of_boot)
        near = power_up.near if power_up is not None else number if of_boot == item.boot else None
        if gap.last_seq == messages.TO_THE_END:
            first = gap.first_seq if near is None else unwound(gap.first_seq, near)
            if not book.reaches(Place(of_boot, first), day):
                return Need(item.device)
            book.cut(Cut(of_boot, first, item.boot, number, gap.reason, day))
            return None
        if gap.last_seq - gap.first_seq & SEQ_MASK > SEQ_MASK >> 1:
            return None  # samples, and no numbers
        last = gap.last_seq if near is None else unwound(gap.last_seq, near)
        first = last - (gap.last_seq - gap.first_seq & SEQ_MASK)
        if not book.reaches(Place(of_boot, first), day):
            return Need(item.device)
        book.tell(of_boot, Told(first, last, gap.reason, day))
        return None

    def load(self, device: str, rows: Mapping[int, bytes]) -> None:
        """All rows of a device, as the store has them. Raises LedgerError for one it cannot read.

        What is not written yet goes before them.
        """
        old = self._books.get(device)
        changed = self.changed(device) if old is not None else {}
        book = Book.of_rows(device, {**rows, **changed})
        book.wrote(rows)
        if old is not None:
            book.told_left_out = old.told_left_out
        self._books[device] = book
        self._heads.pop(device, None)

    def first_of_restamp(self, need: Need) -> tuple[int, int]:
        """(first, last) of the items to be read for a restamped range, in numbers of the wire.

        A condensed record is known by what lies within it, so it begins a little before.
        """
        return max(0, need.first - RESTAMP_MARGIN), need.last

    def restamp(self, number: int, need: Need, items: Iterable[Stored]) -> None:
        """The entry `number` of the log: `items` are as they are in the store now.

        Those that stand further on in the log are left for their own place.
        """
        book = self._books[need.device]
        power_up = book.power_up(need.boot, need.last)
        came = sorted(
            (power_up.number(item.seq), item)
            for entry, item in items
            if item.kind <= GAP and entry <= self.up_to and not _by_gateway(item)
        )
        numbers = [at for at, _item in came]
        for at, item in came:
            if not need.first <= item.seq <= need.last:
                continue
            self.restamped += 1
            day = item.utc_ms // DAY_MS if item.synced else 0
            utc_ms = item.utc_ms if day else 0
            if day:
                power_up.began(at, utc_ms - item.end_ms)
            if item.kind == GAP:
                self._gap(book, item, at, day)
            before = _before(item.payload) if item.kind == RECORD else 0
            if before:
                within: int | None = None
                if before <= RESTAMP_MARGIN:
                    low = bisect_right(numbers, at - before - 1)
                    within = bisect_right(numbers, at) - low
                first_ms = _first_ms(item, before) if day else 0
                times_ms = (first_ms, utc_ms)
                power_up.restamp_condensed(at - before, at, day, times_ms, within)
            else:
                power_up.restamp(at, day, utc_ms)
        self.up_to = number

    def redelivered(self, device: str, day: int, count: int) -> bool:
        """A device sent items again; False if its rows are needed first."""
        book = self._books.get(device)
        if book is None or book.closed(day):
            return False
        book.redelivered[day] = book.redelivered.get(day, 0) + count
        return True

    # --- out ------------------------------------------------------------------------------------

    def devices(self) -> list[str]:
        """Those in memory."""
        return sorted(self._books)

    def days(self, device: str) -> dict[int, Day]:
        """The days of a device that are in memory; the store has the others."""
        return self._books[device].days() if device in self._books else {}

    def payload(self, device: str) -> bytes:
        """The JSON of the topic `ledger`: the last days that are in memory."""
        days = [day for day in self.days(device).values() if not is_empty(day)]
        return content.payload(device, days[-DAYS_PUBLISHED:], self.head(device))

    def head(self, device: str) -> tuple[int, int]:
        """(boot, seq) of the newest power-up's highest number; 0, 0 of a device not in memory."""
        book = self._books.get(device)
        return book.head() if book is not None else (0, 0)

    def changed(self, device: str) -> dict[int, bytes]:
        """Rows of a device that are to be written."""
        return self._books[device].changed_rows()

    def wrote(self, device: str, rows: Mapping[int, bytes]) -> None:
        """These rows are durable, with `up_to` of the moment they were made at."""
        self._books[device].wrote(rows)

    def close_old(self, device: str) -> None:
        """Lets go of a device's old days; only when all its rows are written."""
        self._heads.pop(device, None)
        self._books[device].close_old()

    def stats(self) -> dict[str, int]:
        books = self._books.values()
        return {
            "up_to": self.up_to,
            "devices": len(books),
            "whole": sum(book.whole for book in books),
            "spans": sum(len(p.spans.runs) for book in books for p in book.power_ups.values()),
            "again": self.again,
            "unreadable": self.unreadable,
            "restamped": self.restamped,
            "unnamed": self.thinned,
            "told_left_out": sum(book.told_left_out for book in books),
        }


def is_empty(day: Day) -> bool:
    """Whether nothing is told of the day any more."""
    return not (day.expected or day.absent_s or day.redelivered)


def _before(payload: bytes) -> int:
    """How many numbers before its own a Record stands for; 0 for one that breaks off."""
    try:
        at = _FLAGS_AT + 1 + payload[_FLAGS_AT]
        at += 1 + payload[at]
        return payload[at] | payload[at + 1] << 8
    except IndexError:
        return 0


def _first_ms(item: Item, before: int) -> int:
    """When the first of a condensed record's intervals ended, UTC ms."""
    length_ms = item.payload[_WINDOWS_AT] * messages.WINDOW_MS
    return item.utc_ms - length_ms * before // (before + 1)


def _by_gateway(item: Item) -> bool:
    """Whether a gap is the gateway's own: it has no number of the device."""
    return item.kind == GAP and item.payload[_REASON_AT] >= STORE_FULL


def _id_of(stored: Stored) -> int:
    return stored.id
