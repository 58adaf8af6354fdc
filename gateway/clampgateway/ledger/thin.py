"""Bounds what the ledger remembers of one power-up. Pure.

A device that loses single numbers everywhere would need a run for each of them. Beyond the bound
the smallest holes lose their names: how many numbers lack stays exact, which they are does not.
"""

from __future__ import annotations

from itertools import pairwise

from clampgateway.ledger.powerup import PowerUp
from clampgateway.ledger.spans import Span
from clampgateway.ledger.told import Cut


def thin(power_up: PowerUp, cuts: list[Cut], most: int) -> int:
    """Join runs over their smallest holes that no gap explains, down to three quarters of `most`.

    Returns how many numbers lost their names. Only runs of one day and sort are joined.
    """
    runs = power_up.spans.runs
    holes = sorted(
        (above.first - below.last - 1, at)
        for at, (below, above) in enumerate(pairwise(runs))
        if below.like(above) and not _is_told(power_up, cuts, below, above)
    )
    joined = {at for _size, at in holes[: max(0, len(runs) - 3 * most // 4)]}
    out: list[Span] = []
    unnamed = 0
    for at, span in enumerate(runs):
        if at - 1 not in joined:
            out.append(span)
            continue
        below = out[-1]
        size = span.first - below.last - 1
        unnamed += size
        below.unnamed += size + span.unnamed
        below.received += span.received
        below.last, below.to_ms = span.last, span.to_ms
    power_up.spans.runs = out
    return unnamed


def _is_told(power_up: PowerUp, cuts: list[Cut], below: Span, above: Span) -> bool:
    parts = power_up.told.split(below.last + 1, above.first - 1, cuts, power_up.boot)
    return any(reason for _first, _last, reason, _day in parts)
