"""How UTC stood to the machine's clock, era by era, and what was told of corrected times.

Values of two small tables, held in memory. What an era is: see `utcclock`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class EraRow(NamedTuple):
    """An era, and where its items begin.

    The first three as in `utcclock.Era`. Items that were dated in it have ids above `after_id`,
    and `number` as their `synced`.
    """

    number: int
    power_up: str
    offset_ms: int
    after_id: int


class Restamp(NamedTuple):
    """Items `first` to `last` of a boot of the device with this number have another time now."""

    id: int
    device: int
    boot: int
    first: int
    last: int


class Restamps:
    """All that were told, in order of their ids."""

    def __init__(self) -> None:
        self._rows: list[Restamp] = []

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Restamp]:
        return iter(self._rows)

    @property
    def last_id(self) -> int:
        """The highest id; 0 if there are none."""
        return self._rows[-1].id if self._rows else 0

    def add(self, rows: Iterable[Restamp]) -> None:
        """Add rows, in any order; one that is there is not added twice."""
        merged = {row.id: row for row in (*self._rows, *rows)}
        self._rows = [merged[number] for number in sorted(merged)]

    def after(self, position: int, limit: int) -> list[Restamp]:
        """The first `limit` with an id above `position`."""
        rows = self._rows
        if not rows or rows[-1].id <= position:
            return []
        start = bisect_right(rows, position, key=_id_of)
        return rows[start : start + limit]

    def forget(self, up_to: int) -> None:
        """Those up to this id are gone."""
        self._rows = self._rows[bisect_right(self._rows, up_to, key=_id_of) :]


def _id_of(row: Restamp) -> int:
    return row.id
