"""What was dropped from the log, as ranges that readers meet where the items were.

Pure. A dropped range keeps the id of its last item: a reader that is already past it never hears
of it, because it has delivered the items themselves; one that is still before it is told of the
gap in their place. Adjoining ranges become one, unless a reader stands between them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from clampgateway.model import GAP, RECORD, STORE_DAMAGED, Item, Stored
from clampwire import messages
from clampwire.codec import Codec, WireError

_CODEC = Codec()
# Of a Record its count of windows, behind type, boot, seq and end.
_WINDOWS_AT = 14
_FLAGS_AT = 16
LOOSE = 2


class Drop(NamedTuple):
    """A range that was dropped: `first` to `last` of one boot; times in ms of the device's clock.

    `device` is the number of the device in the store, `id` that of the range's last item. `synced`
    has LOOSE set if there may be numbers in the range that were never here.
    """

    id: int
    device: int
    boot: int
    first: int
    last: int
    reason: int
    from_ms: int
    to_ms: int
    utc_ms: int
    synced: int


class Dropped:
    """All ranges. `change` plans, `apply` carries out."""

    def __init__(self, rows: Iterable[Drop] = ()) -> None:
        self._by_id: dict[int, Drop] = {}
        self._ids: list[int] = []
        self._ranges: dict[tuple[int, int], list[Drop]] = {}
        self.apply([], rows)

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Drop]:
        return iter([self._by_id[number] for number in self._ids])

    def covers(self, device: int, boot: int, seq: int) -> bool:
        """Whether this item was certainly here before and was dropped.

        Not for what a damaged store took with it, nor for numbers that a condensed record or a gap
        stood for: an event among them may be still to come.
        """
        ranges = self._ranges.get((device, boot))
        if not ranges or seq > ranges[-1].last:
            return False
        at = bisect_right(ranges, seq, key=_first_of)
        near = [drop for drop in ranges[max(0, at - 3) : at] if seq <= drop.last]
        return any(drop.reason != STORE_DAMAGED and not drop.synced & LOOSE for drop in near)

    def ranges(self, device: int, boot: int) -> list[list[int]]:
        """[first, last] of all ranges of a boot."""
        return [[drop.first, drop.last] for drop in self._ranges.get((device, boot), [])]

    def after(self, position: int, limit: int) -> list[Drop]:
        """The first `limit` ranges with an id above `position`."""
        start = bisect_right(self._ids, position)
        return [self._by_id[number] for number in self._ids[start : start + limit]]

    def within(self, device: int, boot: int, first: int, last: int) -> list[Drop]:
        """The ranges that have a number from `first` to `last` of this boot."""
        ranges = self._ranges.get((device, boot), [])
        return [drop for drop in ranges if drop.first <= last and drop.last >= first]

    def between(self, after: int, up_to: int) -> list[Drop]:
        """The ranges with an id above `after` and up to `up_to`."""
        start, end = bisect_right(self._ids, after), bisect_right(self._ids, up_to)
        return [self._by_id[number] for number in self._ids[start:end]]

    def change(self, rows: Sequence[Drop], fences: Sequence[int]) -> tuple[list[int], list[Drop]]:
        """(ids that go, ranges that come) when `rows` are dropped.

        `fences` are the places of readers; none of them may be within the rows' ids.
        """
        gone: list[int] = []
        come: list[Drop] = []
        by_boot: dict[tuple[int, int], list[Drop]] = {}
        for run in joined_runs(rows):
            by_boot.setdefault((run.device, run.boot), []).append(run)
        for key, runs in by_boot.items():
            near = {old for run in runs for old in self._neighbours(key, run)}
            for joined, parts in _sweep([*near, *runs], fences):
                olds = [part for part in parts if part in near]
                if parts != olds:
                    gone += [old.id for old in olds]
                    come.append(joined)
        return gone, _with_own_ids(come, [row.id for row in rows])

    def apply(self, gone: Iterable[int], come: Iterable[Drop]) -> list[Drop]:
        """Make the change that `change` planned; returns what went."""
        touched = set()
        went = []
        for number in gone:
            old = self._by_id.pop(number)
            went.append(old)
            touched.add((old.device, old.boot))
            self._ranges[old.device, old.boot].remove(old)
        for drop in come:
            touched.add((drop.device, drop.boot))
            self._by_id[drop.id] = drop
            self._ranges.setdefault((drop.device, drop.boot), []).append(drop)
        for key in touched:
            self._ranges[key].sort(key=_first_of)
        self._ids = sorted(self._by_id)
        return went

    def _neighbours(self, key: tuple[int, int], run: Drop) -> list[Drop]:
        return [
            old
            for old in self._ranges.get(key, [])
            if old.first <= run.last + 1 and run.first <= old.last + 1
        ]


def rows_of(
    items: Iterable[tuple[int, int, int, int, int, int, int, int, bytes]], reason: int
) -> list[Drop]:
    """What is lost with each item (id, device, boot, seq, kind, end_ms, utc_ms, synced, payload).

    A condensed record stands for the numbers that it was made of, too.
    With an announced gap goes what it announced: whoever had not heard of it yet is told so now.
    """
    rows = []
    for number, device, boot, seq, kind, end_ms, utc_ms, synced, payload in items:
        from_ms, first = end_ms, seq
        if kind == RECORD and len(payload) > _FLAGS_AT:
            from_ms = max(0, end_ms - payload[_WINDOWS_AT] * messages.WINDOW_MS)
            first = max(0, seq - _before(payload))
        dated = int(synced > 0)  # of which era matters no more
        loose = dated if first == seq else dated | LOOSE
        own = Drop(number, device, boot, first, seq, reason, from_ms, end_ms, utc_ms, loose)
        rows.append(own)
        if kind == GAP:
            told = _told(payload)
            if told is not None:
                of_boot, first, last, begin, end = told
                loose = own._replace(boot=of_boot or boot, synced=dated | LOOSE)
                rows.append(loose._replace(first=first, last=last, from_ms=begin, to_ms=end))
    return rows


def _before(payload: bytes) -> int:
    """How many numbers before its own a Record stands for: those it was condensed from."""
    values_at = _FLAGS_AT + 1 + payload[_FLAGS_AT]
    if values_at >= len(payload):
        return 0
    at = values_at + 1 + payload[values_at]
    return int.from_bytes(payload[at : at + 2], "little")


def _told(payload: bytes) -> tuple[int, int, int, int, int] | None:
    """(boot, 0 for its own, first, last, from, to) of a device's Gap; None if of samples."""
    try:
        _name, gap = _CODEC.decode(payload)
    except WireError:
        return None  # the feed counts and reports items that cannot be read
    if gap.first_seq > gap.last_seq:
        return None
    return gap.of_boot, gap.first_seq, gap.last_seq, gap.from_ms, gap.to_ms


def as_stored(drop: Drop, device: str) -> Stored:
    """The gap as an item of the log, in the form of a device's own: bridges know no other."""
    payload = _CODEC.encode(
        "Gap",
        drop.boot,
        drop.last,
        drop.to_ms,
        drop.reason,
        messages.NO_CHANNEL,
        drop.first,
        drop.last,
        drop.from_ms,
        drop.to_ms,
        0,
    )
    synced = bool(drop.synced & 1)
    return Stored(
        drop.id,
        Item(device, drop.boot, drop.last, GAP, drop.to_ms, drop.utc_ms, synced, 0, payload),
    )


def joined_runs(rows: Sequence[Drop]) -> list[Drop]:
    """Rows joined to unbroken ranges, in order of device, boot and first."""
    runs: list[Drop] = []
    for row in sorted(rows, key=lambda row: row[1:5]):
        last = runs[-1] if runs else None
        if last is not None and last[1:3] == row[1:3] and row.first <= last.last + 1:
            runs[-1] = _joined(last, row)
        else:
            runs.append(row)
    return runs


def _sweep(ranges: list[Drop], fences: Sequence[int]) -> list[tuple[Drop, list[Drop]]]:
    """Ranges of one boot joined where that is allowed: (result, what it is made of)."""
    out: list[tuple[Drop, list[Drop]]] = []
    for each in sorted(ranges, key=lambda drop: drop[3:5]):
        if out:
            last, parts = out[-1]
            near = each.first <= last.last + 1 and each.reason == last.reason
            if near and not _between(last.id, each.id, fences):
                out[-1] = (_joined(last, each), [*parts, each])
                continue
        out.append((each, [each]))
    return out


def _with_own_ids(ranges: list[Drop], ids: Sequence[int]) -> list[Drop]:
    """Two ranges of one item (a gap, and what it told) get an id each, of those that are free.

    Any id of the dropped ones is as good: no reader stands among them. Where none is free, both
    become one range, which tells too much rather than too little; of two boots, the wider one is
    told, for the other is the number of the gap alone.
    """
    used = {drop.id for drop in ranges}
    free = iter(sorted(set(ids) - used, reverse=True))
    taken: dict[int, Drop] = {}
    for each in ranges:
        drop = each
        if drop.id in taken:
            other, rival = next(free, None), taken[drop.id]
            if other is not None:
                drop = drop._replace(id=other)
            elif rival[1:3] == drop[1:3]:
                drop = _joined(rival, drop)
            else:
                drop = max(rival, drop, key=lambda each: each.last - each.first)
        taken[drop.id] = drop
    return list(taken.values())


def _joined(one: Drop, other: Drop) -> Drop:
    later = max(one, other, key=lambda drop: drop.to_ms)
    return Drop(
        max(one.id, other.id),
        one.device,
        one.boot,
        min(one.first, other.first),
        max(one.last, other.last),
        other.reason,
        min(one.from_ms, other.from_ms),
        later.to_ms,
        later.utc_ms,
        one.synced & other.synced & 1 | (one.synced | other.synced) & LOOSE,
    )


def _between(low: int, high: int, fences: Sequence[int]) -> bool:
    low, high = min(low, high), max(low, high)
    return any(low <= fence < high for fence in fences)


def _first_of(drop: Drop) -> int:
    return drop.first
