"""The table that the fault tests end with: what was injected, and what it cost.

A row is entered by a test when it is done. Silently lost and duplicated must be 0 in every row;
entering another number fails the test that does it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

IMAGES = "crash image"
HEAD = ("fault", "injections", "silently lost", "duplicated", "announced gaps", "recovery s")


@dataclass(frozen=True)
class Row:
    """One fault. `announced`: items that were told as lost; `recovery_s`: the longest seen."""

    fault: str
    injections: int
    lost: int
    duplicated: int
    announced: int = 0
    recovery_s: float | None = None
    crash_images: bool = False

    def cells(self) -> tuple[str, ...]:
        recovery = "" if self.recovery_s is None else f"{self.recovery_s:.2f}"
        counts = (self.injections, self.lost, self.duplicated, self.announced)
        return (self.fault, *map(str, counts), recovery)


@dataclass
class FaultTable:
    """All rows of a run."""

    rows: list[Row] = field(default_factory=list)

    def add(
        self,
        fault: str,
        injections: int,
        lost: int,
        duplicated: int,
        announced: int = 0,
        recovery_s: float | None = None,
        *,
        crash_images: bool = False,
    ) -> None:
        """Enter a row. Raises AssertionError for one that breaks the promise, or is empty."""
        row = Row(fault, injections, lost, duplicated, announced, recovery_s, crash_images)
        self.rows.append(row)
        assert injections > 0, f"{fault}: nothing was injected"
        assert (lost, duplicated) == (0, 0), (
            f"{fault}: {lost} items silently lost, {duplicated} duplicated"
        )

    def lines(self) -> list[str]:
        """The table as text, with its sums."""
        images = sum(row.injections for row in self.rows if row.crash_images)
        others = sum(row.injections for row in self.rows if not row.crash_images)
        lost = sum(row.lost for row in self.rows)
        doubled = sum(row.duplicated for row in self.rows)
        cells = [HEAD, *(row.cells() for row in self.rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(HEAD))]
        lines = [
            "  ".join(
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        lines.insert(1, "-" * sum([*widths, 2 * (len(widths) - 1)]))
        lines.append(
            f"{images} crash images and {others} other injections:"
            f" {lost} silently lost, {doubled} duplicated"
        )
        return lines
