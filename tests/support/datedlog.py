"""Logs whose times are wrong or missing, made of items whose right time is known."""

from __future__ import annotations

import struct
from pathlib import Path

from clampgateway.clocksync import Fit
from clampgateway.model import EVENT, RECORD, RESTAMPED, Item, Stored, restamped_range
from clampgateway.store import Dating, Store
from clampgateway.utcclock import Era

HOUR_MS = 3_600_000
# UTC less the monotonic clock, as it is in the end.
OFFSET_MS = 1_790_000_000_000


def zero_us(device: str, boot: int) -> int:
    """When this power-up began, on the gateway's monotonic clock."""
    return 1_000_000 * (len(device) + 100 * boot)


def right_ms(item: Item) -> int:
    """UTC of the item's end, in ms."""
    return OFFSET_MS + zero_us(item.device, item.boot) // 1000 + item.end_ms


def item_of(
    seq: int, device: str = "lathe", boot: int = 1, era: int = 0, wrong_ms: int = 0
) -> Item:
    """Item `seq`; with `era` dated in it, and `wrong_ms` off."""
    kind = EVENT if seq % 10 == 9 else RECORD
    payload = struct.pack("<BIII", kind, boot, seq, 1000 * seq) + bytes(40)
    one = Item(device, boot, seq, kind, 1000 * seq, 0, era, 7, payload)
    return one._replace(utc_ms=right_ms(one) + wrong_ms) if era else one


def fits(*power_ups: tuple[str, int]) -> dict[str, dict[int, Fit]]:
    """Good lines of these power-ups."""
    out: dict[str, dict[int, Fit]] = {}
    for device, boot in power_ups:
        out.setdefault(device, {})[boot] = Fit(0, zero_us(device, boot), 0.0, 100.0, 1e-6)
    return out


def dating(*power_ups: tuple[str, int], era: int = 2) -> Dating:
    """How these power-ups are dated."""
    return Dating(era, OFFSET_MS, OFFSET_MS + 99 * HOUR_MS, fits(*power_ups))


def worked_off(store: Store, how: Dating | None, mono_s: float = 0.0) -> list[Stored]:
    """What is told until nothing is left to do now."""
    out: list[Stored] = []
    for _ in range(1000):
        told, more = store.restamp(how, mono_s)
        out += told
        if not more:
            return out
    raise AssertionError("it has no end")


def ranges(told: list[Stored]) -> dict[tuple[str, int], set[int]]:
    """The numbers that were told as corrected, by power-up."""
    out: dict[tuple[str, int], set[int]] = {}
    for _id, one in told:
        assert one.kind == RESTAMPED
        boot, first, last = restamped_range(one)
        out.setdefault((one.device, boot), set()).update(range(first, last + 1))
    return out


def items_of(store: Store) -> list[Item]:
    """All items, as the store has them now."""
    return [one.item for one in store.read_after(0, 1_000_000) if one.item.kind != RESTAMPED]


def wrong_store(path: Path, by_ms: int = HOUR_MS) -> Store:
    """Items of an era that was right, of one that was wrong, mixed; the wrong one is known now."""
    store = Store(path)
    store.append(
        [item_of(seq, device, era=1) for seq in range(40) for device in ("lathe", "mill")], {}
    )
    store.save_eras([Era(2, "run", OFFSET_MS - by_ms)])
    made = [
        item_of(seq, device, era=2, wrong_ms=-by_ms)
        for seq in range(100, 150)
        for device in ("lathe", "mill")
    ]
    store.append([*made, item_of(0, "mill", 2, era=2, wrong_ms=-by_ms)], {})
    store.save_eras([Era(3, "run", OFFSET_MS)])
    # What was dated before the step, and committed after it.
    late = [item_of(seq, era=2, wrong_ms=-by_ms) for seq in range(150, 160)]
    store.append([*late, item_of(160, era=3)], {})
    return store
