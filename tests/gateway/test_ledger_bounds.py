"""The ledger where a device gives it too much to remember, or numbers begin again at 0."""

from __future__ import annotations

from clampgateway.ledger import Day, Ledger
from clampgateway.ledger.content import RANGES_MAX, missing_of
from clampgateway.ledger.told import Told, ToldRanges
from clampgateway.model import Item, Stored
from support.ledgermodel import DEVICE, MASK, START_MS, gap, record
from support.ledgertruth import DAY_MS


def taken(ledger: Ledger, items: list[Item]) -> Day:
    batch = [Stored(ledger.up_to + 1 + at, item) for at, item in enumerate(items)]
    while (need := ledger.take(batch, START_MS + 10_000)) is not None:
        ledger.load(need.device, {})
    (day,) = ledger.days(DEVICE).values()
    return day


def item(number: int, payload: bytes | None = None) -> Item:
    payload = payload or record(1, number, 1000)
    return Item(DEVICE, 1, number & MASK, payload[0], 1000, START_MS, True, 7, payload)


def test_every_other_number_lost_is_counted_exactly_and_bounded() -> None:
    ledger = Ledger(spans_max=100)
    lost = gap(1, 5000, 1000, 1, 4001, 4001)
    day = taken(ledger, [*(item(2 * n) for n in range(2000)), item(5000, lost)])
    assert ledger.stats()["spans"] <= 100
    assert ledger.stats()["unnamed"] > 1800
    assert (day.expected, day.received, day.lost) == (5001, 2001, 1)
    assert day.pending == 5001 - 2001 - 1
    assert sum(each.n for each in day.pending_ranges) == day.pending
    # What comes after all fills its place, and nothing is counted that came before.
    day = taken(ledger, [item(2 * n + 1) for n in range(100)])
    assert (day.expected, day.received, day.pending) == (5001, 2101, 2899)
    assert ledger.stats()["again"] == 0


def test_more_ranges_than_are_listed_are_counted() -> None:
    day = taken(Ledger(), [item(2 * n) for n in range(RANGES_MAX + 6)])
    assert (len(day.pending_ranges), day.more) == (RANGES_MAX, 5)
    assert day.pending == RANGES_MAX + 5


def test_numbers_begin_again_at_0_within_a_power_up() -> None:
    ledger = Ledger()
    numbers = [MASK - 4, MASK - 3, MASK + 4, MASK + 5]
    day = taken(ledger, [item(number) for number in numbers])
    assert (day.expected, day.received, day.pending) == (10, 4, 6)
    assert [(r.first, r.last, r.n) for r in day.pending_ranges] == [
        (MASK - 2, MASK, 3),
        (0, 2, 3),
    ]
    told = gap(1, MASK + 6, 1000, 1, MASK - 2, MASK + 2)
    day = taken(ledger, [item(MASK + 6, told)])
    assert (day.expected, day.lost, day.pending) == (11, 5, 1)
    assert ledger.head(DEVICE) == (1, 5)


def test_a_gap_of_samples_names_no_number() -> None:
    day = taken(Ledger(), [item(0), item(9, gap(1, 9, 1000, 2, 9, 8))])
    assert (day.expected, day.lost, day.pending) == (10, 0, 8)


def test_a_range_with_fewer_missing_than_numbers_keeps_its_count_over_the_wrap() -> None:
    found = missing_of(3, MASK - 9, MASK + 10, 12, 0)
    assert [(each.first, each.last, each.n) for each in found] == [(MASK - 9, MASK, 10), (0, 9, 2)]


def test_what_was_told_twice_has_one_reason_whatever_came_first() -> None:
    ways = [Told(0, 9, 4, 20_000), Told(5, 14, 1, 20_001), Told(7, 7, 4, 19_999), Told(9, 9, 1, 0)]
    results = []
    for turn in range(len(ways)):
        ranges = ToldRanges()
        for told in [*ways[turn:], *ways[:turn]]:
            ranges.add(told)
        results.append(ranges.ranges)
    assert all(each == results[0] for each in results)
    assert results[0] == [Told(0, 4, 4, 20_000), Told(5, 14, 1, 20_001)]


def test_an_item_of_1970_is_of_no_day() -> None:
    one = item(0)._replace(utc_ms=DAY_MS // 2)
    assert taken(Ledger(), [one]).day == "unsynced"
