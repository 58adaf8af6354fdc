"""Ranges of one device's items that a reader put aside, to be delivered later.

Pure. A range is of one device and some kinds. It waits either for its turn (no topic) or for the
broker to take its topic again (the topic, with the reason code of the refusal). While a range of
the live lane grows, its durable form has an open end, so that growing costs no commit: all of its
kind up to the reader's live mark is in it.
"""

from __future__ import annotations

from collections.abc import Iterator

from clampgateway.model import EVENT, GAP, RECORD, Parked

# The lane whose ranges have an open end.
LIVE = "live"
OPEN_END = 1 << 62
RECORDS = 1 << RECORD
OTHERS = 1 << EVENT | 1 << GAP
# A range of no kind is one item that stands for others: a restamped range.
MARKER = 0
RANGES_MAX = 1000


class Range:
    """Items of `device` whose kind is in `kinds`, from id `first` to `last`; `items` of them."""

    __slots__ = ("device", "exact", "first", "items", "key", "kinds", "last", "reason", "topic")

    def __init__(
        self, topic: str, device: str, kinds: int, first: int, last: int, reason: int
    ) -> None:
        self.topic = topic
        self.device = device
        self.kinds = kinds
        self.first = first
        self.last = last
        self.reason = reason
        self.items = 0
        self.exact = True
        self.key: tuple[str, str, int] | None = None  # under which it may grow

    def holds(self, kind: int, number: int) -> bool:
        """Whether an item of its device is in it."""
        return self.first <= number <= self.last and bool(self.kinds >> kind & 1)


class Ranges:
    """All ranges of one reader."""

    def __init__(self) -> None:
        self._by_device: dict[str, list[Range]] = {}
        # Which range an item of (lane, device, kinds) may be added to.
        self._growing: dict[tuple[str, str, int], Range] = {}
        self._durable: tuple[Parked, ...] | None = ()
        self.count = 0
        self.ready = 0  # of them, those that wait for their turn
        self.joined = 0

    def __iter__(self) -> Iterator[Range]:
        for ranges in self._by_device.values():
            yield from ranges

    def __len__(self) -> int:
        return self.count

    def load(self, parked: Parked, live: int) -> None:
        """Take a range of the durable form; `live` is the live mark that was stored with it."""
        topic, device, kinds, first, last, reason = parked
        last = min(last, live)
        if first <= last:
            each = Range(topic, device, kinds, first, last, reason)
            each.items = last - first + 1 if kinds != MARKER else 1
            each.exact = kinds == MARKER
            self._enter(each)

    def put(
        self, lane: str, topic: str, device: str, kinds: int, number: int, reason: int = 0
    ) -> Range:
        """Put an item aside. Ids of one lane, device and kinds rise, but for late refusals."""
        key = (lane, device, kinds)
        found = self._growing.get(key)
        if found is not None and (found.topic, found.reason) == (topic, reason):
            if number > found.last:
                found.last = number
                found.items += 1
                if lane != LIVE:
                    self._durable = None
                return found
            if number >= found.first:
                return found
            # What is below may have been read of it already: that is a range of its own.
        for each in self._by_device.get(device, ()):
            if each.kinds == kinds and each.first <= number <= each.last:
                return each
        if found is not None:
            self._seal(found)
        each = Range(topic, device, kinds, number, number, reason)
        each.items = 1
        each.key = key
        self._growing[key] = each
        self._enter(each)
        if self.count > RANGES_MAX:
            self._join_some()
        return each

    def apart(self, topic: str, device: str, kinds: int, number: int, reason: int) -> Range:
        """Put a single item aside, even out of a range that is being delivered."""
        each = Range(topic, device, kinds, number, number, reason)
        each.items = 1
        self._enter(each)
        return each

    def mark(self, device: str, number: int) -> Range:
        """Put one item aside that stands for others."""
        return self.apart("", device, MARKER, number, 0)

    def covers(self, device: str, kind: int, number: int) -> bool:
        """Whether this item is put aside already."""
        ranges = self._by_device.get(device)
        return ranges is not None and any(each.holds(kind, number) for each in ranges)

    def waits(self, device: str, up_to: int) -> bool:
        """Whether an item of a device up to this id waits for its turn."""
        ranges = self._by_device.get(device, ())
        return any(each.first <= up_to and not each.topic for each in ranges)

    def seal(self, lane: str, device: str, kinds: int) -> None:
        """An item of these was delivered otherwise: the next one begins a new range."""
        found = self._growing.get((lane, device, kinds))
        if found is not None:
            self._seal(found)

    def seal_all(self) -> None:
        """All ranges end where they are."""
        for each in tuple(self._growing.values()):
            self._seal(each)

    def _seal(self, each: Range) -> None:
        if each.key is not None:
            del self._growing[each.key]
            each.key = None
            self._durable = None

    def drained(self, each: Range, up_to: int) -> None:
        """All of a range up to this id is delivered."""
        if up_to < each.first or each not in self._by_device.get(each.device, ()):
            return
        if up_to >= each.last:
            self._remove(each)
            return
        if each.exact:
            each.items = min(each.items, each.last - up_to)
        else:
            each.items = each.last - up_to
        each.first = up_to + 1
        self._durable = None

    def delivered(self, each: Range, items: int) -> None:
        """So many of its items are delivered; only for the count."""
        if each.exact:
            each.items = max(0, each.items - items)

    def refuse(self, each: Range, topic: str, reason: int) -> None:
        """The broker refuses the topic that a range needs."""
        if each not in self._by_device.get(each.device, ()):
            return  # joined to another meanwhile
        self._seal(each)
        self.ready += bool(each.topic) - bool(topic)
        each.topic, each.reason = topic, reason
        self._durable = None

    def reopen(self, topic: str) -> int:
        """The broker takes a topic again: its ranges wait for their turn. Returns how many."""
        return self._release([each for each in self if each.topic == topic])

    def retry(self, reason: int) -> int:
        """What was refused for this reason waits for its turn again. Returns how many ranges."""
        return self._release([each for each in self if each.topic and each.reason == reason])

    def _release(self, found: list[Range]) -> int:
        for each in found:
            self.refuse(each, "", 0)
        return len(found)

    def oldest(self, topic: str) -> Range | None:
        """The range of a topic with the lowest id; of no topic: the next in turn."""
        return min((e for e in self if e.topic == topic), key=lambda e: e.first, default=None)

    def parked(self) -> tuple[Parked, ...]:
        """The durable form; the same object as long as nothing changed."""
        if self._durable is None:
            self._durable = tuple(
                Parked(
                    each.topic,
                    each.device,
                    each.kinds,
                    each.first,
                    OPEN_END if each.key is not None and each.key[0] == LIVE else each.last,
                    each.reason,
                )
                for each in self
            )
        return self._durable

    def _enter(self, each: Range) -> None:
        self._by_device.setdefault(each.device, []).append(each)
        self.count += 1
        self.ready += not each.topic
        self._durable = None

    def _remove(self, each: Range) -> None:
        self._seal(each)
        ranges = self._by_device[each.device]
        ranges.remove(each)
        if not ranges:
            del self._by_device[each.device]
        self.count -= 1
        self.ready -= not each.topic
        self._durable = None

    def _join_some(self) -> None:
        """Of each device and place, neighbours become one: what is between them comes again."""
        for ranges in tuple(self._by_device.values()):
            last: Range | None = None
            for each in sorted(ranges, key=_place):
                if last is None or _place(last)[:-1] != _place(each)[:-1] or each.key is not None:
                    last = each if each.key is None and each.kinds != MARKER else None
                    continue
                last.last = max(last.last, each.last)
                last.items += each.items
                last.exact = last.exact and each.exact
                self._remove(each)
                self.joined += 1
                last = None  # pairs, so that half of them are left


def _place(each: Range) -> tuple[str, int, int, int]:
    return each.topic, each.reason, each.kinds, each.first
