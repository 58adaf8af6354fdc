"""What tests measured and which faults they injected, printed before pytest's closing line.

A plugin: a conftest that pytest loads at its start names it in `pytest_plugins`. Where
pytest-xdist runs the tests in workers, their share is carried to the process that prints.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from support.faulttable import FaultTable, Row

_LINES = pytest.StashKey[list[str]]()
FAULTS = pytest.StashKey[FaultTable]()
_CARRIED = "clampwork"


def pytest_configure(config: pytest.Config) -> None:
    """Makes room for the lines of `report_line` and the rows of the table."""
    config.stash[_LINES] = []
    config.stash[FAULTS] = FaultTable()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a worker: hands over what was told in it."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        stash = session.config.stash
        output[_CARRIED] = (stash[_LINES], [asdict(row) for row in stash[FAULTS].rows])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:  # noqa: ANN401 - xdist's own
    """Takes what a worker hands over; one that crashed has nothing, and pytest says so."""
    lines, rows = getattr(node, "workeroutput", {}).get(_CARRIED, ([], []))
    node.config.stash[_LINES] += lines
    node.config.stash[FAULTS].rows += [Row(**row) for row in rows]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Prints what the tests measured, and last what the faults cost."""
    lines = config.stash[_LINES]
    if lines:
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.line(line)
    table = config.stash[FAULTS]
    if table.rows:
        terminalreporter.section("faults")
        for line in table.lines():
            terminalreporter.line(line)


@pytest.fixture
def report_line(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Adds a line to the closing report: a number with its unit, and what was measured."""
    return request.config.stash[_LINES].append
