"""Shows rows of devices: a table that is redrawn in a terminal, plain lines elsewhere.

Owns the look alone. What a row holds is `liveview.py`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from clamptools.liveview import Row, together

PLAIN_PERIOD_S = 5.0
STALE_MS = 5000.0
NONE = "–"
_STATE_STYLES = {"working": "green", "idle": "yellow", "off": "dim", "offline": "red"}
COLUMNS = ("machine", "state", "A", "mm/s", "records", "lost", "age s")


class LiveTable:
    """A context that shows rows on `out`; `title` and `caption` stand above and below.

    Text that comes from a device is shown as text: control characters are taken out, and rich's
    markup is not read.
    """

    def __init__(self, out: TextIO, title: str, caption: str = "") -> None:
        self._console = Console(file=out)
        self._live: Live | None = None
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._title = title
        self.caption = caption
        self._next_plain_s = 0.0

    def __enter__(self) -> LiveTable:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def show(self, rows: Iterable[Row], *, last: bool = False) -> None:
        """Draws the rows; without a terminal every 5 s only, and the `last`."""
        rows = list(rows)
        if self._live is not None:
            self._live.update(self._table(rows), refresh=True)
        elif last or time.monotonic() >= self._next_plain_s:
            for row in rows:
                self._next_plain_s = time.monotonic() + PLAIN_PERIOD_S
                self._console.out(line_of(row), highlight=False)
            told = ledger_line(rows)
            if told:
                self._console.out(told, highlight=False)

    def _table(self, rows: Sequence[Row]) -> Table:
        below = Text("\n").join(Text(line) for line in (ledger_line(rows), self.caption) if line)
        table = Table(title=self._title, caption=below, title_justify="left")
        table.caption_justify = "left"
        for name in COLUMNS:
            right = name not in ("machine", "state")
            table.add_column(name, justify="right" if right else "left", no_wrap=True)
        for row in rows:
            name, state, *numbers = cells(row)
            lost_style = "red" if row.missing else ""
            table.add_row(
                Text(name),
                Text(state, style=_STATE_STYLES.get(state, "")),
                *(Text(cell) for cell in numbers[:3]),
                Text(numbers[3], style=lost_style),
                Text(numbers[4], style="red" if (row.age_ms or 0) > STALE_MS else ""),
            )
        return table


def cells(row: Row) -> tuple[str, ...]:
    """The text of each column; a device that does not run MicroPython says what it runs."""
    name = row.name
    if row.runtime and not row.runtime.startswith("MicroPython"):
        name += f" ({row.runtime})"
    return (
        printable(name),
        printable(row.state),
        " ".join(NONE if value is None else f"{value:.2f}" for value in row.current_a) or NONE,
        NONE if row.velocity_mm_s is None else f"{row.velocity_mm_s:.2f}",
        str(row.records),
        str(row.missing),
        NONE if row.age_ms is None else f"{row.age_ms / 1000:.1f}",
    )


def line_of(row: Row) -> str:
    """A row as one line, each number with its name."""
    name, state, current, velocity, records, missing, age = cells(row)
    return (
        f"{name}: {state}, {current} A, {velocity} mm/s, {records} records, {missing} lost, "
        f"{age} s old"
    )


def ledger_line(rows: Iterable[Row]) -> str:
    """What the gateways' ledgers say of all devices together; "" before one says anything."""
    told = together(rows)
    if told is None:
        return ""
    return (
        f"ledger of {printable(told.day)}: {told.expected} expected, {told.received} received, "
        f"{told.condensed} condensed, {told.late} late, {told.lost} lost, {told.pending} pending"
    )


def printable(text: str) -> str:
    """The text without control characters, which could move the cursor or worse."""
    return "".join(char if char.isprintable() else "?" for char in text)
