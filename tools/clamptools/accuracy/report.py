"""What a section of the accuracy document is made of: text, tables, and verdicts on targets.

Owns the formatting of numbers and the rule that a target is met or missed by its number alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Verdict:
    """A target and what was found.

    Attributes:
        what: The target in words.
        target: The limit, in `unit`.
        worst: The largest magnitude found, in `unit`.
        unit: As printed.
        where: In which case it was found.
    """

    what: str
    target: float
    worst: float
    unit: str = "%"
    where: str = ""

    @property
    def met(self) -> bool:
        """Not a number is a miss."""
        return self.worst <= self.target


@dataclass
class Section:
    """A heading, what stands under it, and the verdicts that go to the top of the document."""

    title: str
    blocks: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    def say(self, text: str) -> None:
        """A paragraph, given in lines as they shall stand."""
        self.blocks.append("\n".join(line.strip() for line in text.strip().splitlines()))

    def table(self, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        lines = [header, ["---:" if i else "---" for i in range(len(header))], *rows]
        self.blocks.append("\n".join(f"| {' | '.join(line)} |" for line in lines))

    def text(self) -> str:
        return "\n\n".join([f"## {self.title}", *self.blocks])


class Worst:
    """The largest magnitude so far, and where it was found."""

    def __init__(self) -> None:
        self.value = 0.0
        self.where = ""

    def take(self, errors: np.ndarray | float, where: str) -> float:
        """Takes errors; returns the largest magnitude of these. NaN counts as infinite."""
        largest = float(np.max(np.nan_to_num(np.abs(np.asarray(errors)), nan=math.inf)))
        if largest > self.value:
            self.value, self.where = largest, where
        return largest


def percent(told: np.ndarray, true: np.ndarray | float) -> np.ndarray:
    """Error of reading in %."""
    return (told / true - 1) * 100


def whole(values: np.ndarray) -> float:
    """The RMS over several records from theirs."""
    return float(np.sqrt(np.mean(values**2)))


def fixed(value: float, digits: int = 3, sign: bool = False) -> str:
    """A number of fixed digits; what rounds to 0 has no sign."""
    if math.isnan(value):
        return "none"
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return text if float(text) else text.lstrip("+-")


def span(values: Iterable[float], digits: int = 2) -> str:
    """From the lowest to the highest, with signs."""
    numbers = list(values)
    return f"{fixed(min(numbers), digits, sign=True)} to {fixed(max(numbers), digits, sign=True)}"


def summary(verdicts: Sequence[Verdict]) -> str:
    """The table of all targets."""
    section = Section("Targets")
    section.table(
        ("target", "limit", "worst found", "", "where"),
        (
            (
                verdict.what,
                f"{verdict.target:g} {verdict.unit}",
                f"{fixed(verdict.worst)} {verdict.unit}",
                "met" if verdict.met else "**missed**",
                verdict.where,
            )
            for verdict in verdicts
        ),
    )
    return section.text()
