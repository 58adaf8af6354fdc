"""The truth about completeness, number by number, from a list of what was made and what came.

Written without the ledger: sets and dictionaries of single numbers, no runs, no order of arrival.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from clampgateway.model import GAP, RECORD, Item
from clampwire import messages
from clampwire.codec import Codec

DAY_MS = 86_400_000
LATE_MS = 60_000
DAYS_MOST = 400
NEVER = 1 << 60
CODEC = Codec()


@dataclass
class Came:
    """An item that was committed: its unwound number, how it is stored now, and when it came.

    `gap_first` and `gap_last` are what it tells, unwound; `true_ms` is when it ended;
    `id` its place in the log.
    """

    number: int
    item: Item
    committed_ms: int
    gap_first: int = 0
    gap_last: int = 0
    true_ms: int = 0
    id: int = 0

    @property
    def day(self) -> int:
        return self.item.utc_ms // DAY_MS if self.item.synced else 0

    @property
    def late(self) -> bool:
        known = self.item.synced and not self.item.rev
        return bool(known and self.committed_ms - self.item.utc_ms > LATE_MS)


@dataclass
class Boot:
    """By number: what came as itself, what a condensed record stands for, what gaps named."""

    came: dict[int, Came] = field(default_factory=dict)
    stood_for: dict[int, tuple[Came, int]] = field(default_factory=dict)
    told: dict[int, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))


def truth(entries: list[Came]) -> dict[int, dict[str, Any]]:
    """{day: numbers and names of one device}. `missing` maps (boot, number) to its reason."""
    boots: dict[int, Boot] = defaultdict(Boot)
    cuts: list[tuple[tuple[int, int], tuple[int, int], int, int]] = []
    for each in entries:
        item = each.item
        own = boots[item.boot]
        if item.kind == GAP:
            gap: Any = CODEC.decode(item.payload)[1]
            of_boot = gap.of_boot or item.boot
            if gap.last_seq == messages.TO_THE_END:
                place = (of_boot, each.gap_first), (item.boot, each.number)
                cuts.append((*place, gap.reason, each.day))
            else:
                for number in range(each.gap_first, each.gap_last + 1):
                    boots[of_boot].told[number].append((gap.reason, each.day or NEVER))
            if gap.reason >= 128:
                continue
        own.came[each.number] = each
        if item.kind == RECORD:
            before = CODEC.decode(item.payload)[1].before
            for number in range(each.number - before, each.number + 1):
                if before:
                    own.stood_for[number] = each, before
    days: dict[int, dict[str, Any]] = defaultdict(
        lambda: {
            "received": 0, "condensed": 0, "late": 0, "lost": 0, "pending": 0, "absent_s": 0,
            "missing": {},
        }
    )  # fmt: skip
    for boot, known in sorted(boots.items()):
        _numbers(days, boot, known, cuts)
    _absent(days, boots)
    for day in days.values():
        parts = (day[name] for name in ("received", "condensed", "lost", "pending"))
        day["expected"] = sum(parts)
    return dict(days)


def _numbers(days: dict[int, Any], boot: int, known: Boot, cuts: list[Any]) -> None:
    here = sorted({*known.came, *known.stood_for})
    every = sorted({*here, *known.told})
    if not every:
        return
    present = set(here)
    highest_told = max(known.told, default=0)
    for number in range(every[0], every[-1] + 1):
        if number in present:
            own = known.came.get(number)
            if number in known.stood_for:
                judge = known.stood_for[number][0]
            else:
                judge = known.came[number]
            day = days[judge.day]
            day["received" if own else "condensed"] += 1
            day["late"] += bool(own) and judge.late
            continue
        naming = list(known.told.get(number, ()))
        naming += [
            (reason, of_day or NEVER)
            for begin, end, reason, of_day in cuts
            if begin <= (boot, number) < end
        ]
        reason, told_day = min(naming, default=(0, 0))
        at = bisect_left(here, number)
        below = here[at - 1] if at else None
        above = here[at] if at < len(here) else None
        if above is not None:
            where = _day_between(known, below, above, number)
        elif reason:
            where = told_day % NEVER
        elif below is not None:
            where = _judge(known, below).day
        else:
            where = min(known.told[highest_told])[1] % NEVER
        days[where]["lost" if reason else "pending"] += 1
        days[where]["missing"][boot, number] = reason


def _judge(known: Boot, number: int) -> Came:
    return known.stood_for[number][0] if number in known.stood_for else known.came[number]


def _day_between(known: Boot, below: int | None, above: int, number: int) -> int:
    high = _judge(known, above)
    if below is None:
        return high.day
    low = _judge(known, below)
    end_ms, begin_ms = high.item.utc_ms, low.item.utc_ms
    if above in known.stood_for:
        before = known.stood_for[above][1]
        length_ms = high.item.payload[14] * messages.WINDOW_MS
        end_ms -= length_ms * before // (before + 1)
    if not low.day or not high.day:
        return high.day or low.day
    if not 0 < high.day - low.day <= DAYS_MOST or end_ms <= begin_ms:
        return high.day
    share = (number - below) * (end_ms - begin_ms) // (above - below)
    return min((begin_ms + share) // DAY_MS, high.day)


def _absent(days: dict[int, Any], boots: dict[int, Boot]) -> None:
    last_ms = 0
    for _boot, known in sorted(boots.items()):
        if not known.came:
            continue
        dated = [known.came[number] for number in sorted(known.came) if known.came[number].day]
        if dated:
            zero_ms = dated[0].item.utc_ms - dated[0].item.end_ms
            if last_ms and zero_ms > last_ms:
                at = last_ms
                while at < zero_ms:
                    until = min((at // DAY_MS + 1) * DAY_MS, zero_ms)
                    days[at // DAY_MS]["absent_s"] += until // 1000 - at // 1000
                    at = until
            last_ms = max(_judge(known, number).item.utc_ms for number in known.came)
        else:
            last_ms = 0
