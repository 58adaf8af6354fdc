"""What faults may cost: nothing, but the seconds in a device's RAM when its power is cut.

Pure. Owns how much that is: what a device had made since it was served last, plus the second in
the making, the wait for a commit and the acknowledgement's way. All else that did not arrive is
lost, also what a gap would cover if the gateway has it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from clamptools.demo import schedule
from clamptools.demo.account import RECORD, Account, Key, Result
from clamptools.demo.chaos import Injected

POWER_CUT = "power_cut"
# A record of 1 s, a commit after at most 1 s, and the acknowledgement on a busy computer.
IN_FLIGHT_S = 3.0
# Until a device is served again after a fault on its way: the port is found, Hello, the clock,
# and what was sent in vain is sent again.
SERVED_AGAIN_S = 6.0
_ON_THE_WAY = frozenset((schedule.GATEWAY_KILL.name, schedule.GATEWAY_FREEZE.name))


class PowerCut(NamedTuple):
    """One power cut of a device: the boot it ended, records lost with it and how many may be."""

    device: str
    boot: int
    lost_records: int
    allowed_s: float


def allowed_s(log: Iterable[Injected], name: str, cut_s: float) -> float:
    """How many seconds of records device `name` may lose by a power cut at `cut_s`."""
    ways = [(0.0, 0.0)] + [
        (entry.began_s, cut_s if entry.ended_s is None else entry.ended_s)
        for entry in log
        if entry.began_s < cut_s
        and (entry.action.target == name or entry.action.kind in _ON_THE_WAY)
    ]
    since_s = cut_s
    for begin_s, end_s in sorted(ways, key=lambda way: way[1], reverse=True):
        if end_s + SERVED_AGAIN_S >= since_s:
            since_s = min(since_s, begin_s)
    return cut_s - since_s + IN_FLIGHT_S


def power_cuts(
    log: Sequence[Injected],
    boots: dict[str, list[tuple[str, int]]],
    lost: Iterable[Key],
    account: Account,
) -> list[PowerCut]:
    """Every power cut with its cost.

    Args:
        log: What was injected.
        boots: Per name of a device its (id, boot) at each power-up, in order.
        lost: Items that never reached the gateway.
        account: What was made.
    """
    records = Counter((key.device, key.boot) for key in lost if account.made[key].kind == RECORD)
    found: list[PowerCut] = []
    number: Counter[str] = Counter()
    for entry in log:
        name = entry.action.target
        if entry.action.kind != schedule.POWER.name:
            continue
        device, boot = boots[name][number[name]]
        number[name] += 1
        cost = records[device, boot]
        found.append(PowerCut(device, boot, cost, round(allowed_s(log, name, entry.began_s), 1)))
    return found


def problems_of(
    result: Result, cuts: Sequence[PowerCut], committed: set[Key]
) -> tuple[list[Key], list[str]]:
    """(items lost on the way from the gateway, what keeps the run from being good)."""
    undelivered = [key for key in result.covered if key in committed]
    problems = [f"lost: {key}, the gateway has it" for key in undelivered]
    cut_off = {(cut.device, cut.boot) for cut in cuts}
    problems += [
        f"lost: {key} is covered by a gap, but its device was not cut off in that boot"
        for key in result.covered
        if key not in committed and (key.device, key.boot) not in cut_off
    ]
    problems += [
        f"{gap.device} tells a gap of {gap.reason} ({gap.first} to {gap.last} of boot {gap.boot})"
        for gap in result.gaps
        if gap.reason != POWER_CUT
    ]
    problems += [
        f"{cut.device} lost {cut.lost_records} records by the power cut of boot {cut.boot},"
        f" {cut.allowed_s:g} may be"
        for cut in cuts
        if cut.lost_records > cut.allowed_s
    ]
    return undelivered, problems


def entries(cuts: Iterable[PowerCut]) -> list[dict[str, Any]]:
    """For the result."""
    return [cut._asdict() for cut in cuts]
