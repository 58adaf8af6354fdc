"""The gateway's ledger against the side files of the devices.

Pure. The truth is made of two things that the ledger does not know: what each device wrote down,
and which of it is in the store. A number above the highest that came of a boot is nobody's but
the device's: the ledger expects up to there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from clampgateway.ledger.content import Day
from clamptools.demo.account import Key


class Totals(NamedTuple):
    """Of one device, all days together: numbers as docs/ledger.md has them."""

    expected: int
    received: int
    lost: int
    pending: int


def truth(made: Iterable[Key], committed: set[Key]) -> dict[str, Totals]:
    """What the ledger has to say, by device."""
    of_boot: defaultdict[tuple[str, int], list[Key]] = defaultdict(list)
    for key in made:
        of_boot[key.device, key.boot].append(key)
    found: dict[str, Totals] = {}
    for (device, _boot), keys in of_boot.items():
        came = [key.seq for key in keys if key in committed]
        if not came:
            continue
        expected = sum(key.seq <= max(came) for key in keys)
        last = found.get(device, Totals(0, 0, 0, 0))
        found[device] = Totals(
            last.expected + expected,
            last.received + len(came),
            last.lost + expected - len(came),
            0,
        )
    return found


def told(days: Iterable[tuple[str, Day]]) -> dict[str, Totals]:
    """What the ledger says, by device."""
    found: dict[str, Totals] = {}
    for device, day in days:
        last = found.get(device, Totals(0, 0, 0, 0))
        found[device] = Totals(
            last.expected + day.expected,
            last.received + day.received,
            last.lost + day.lost,
            last.pending + day.pending,
        )
    return found


def differences(
    made: Iterable[Key], committed: set[Key], days: list[tuple[str, Day]]
) -> list[str]:
    """Where the ledger does not agree; nothing may be pending once every gap is told."""
    wanted, found = truth(made, committed), told(days)
    return [
        f"the ledger says of {device} {found.get(device)}, the side files {wanted.get(device)}"
        for device in sorted({*wanted, *found})
        if wanted.get(device) != found.get(device)
    ]
