"""The table of faults: a fixture to enter a row, printed as the last thing of a run."""

from __future__ import annotations

import pytest

from support.faulttable import FaultTable

_TABLE = pytest.StashKey[FaultTable]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash.setdefault(_TABLE, FaultTable())


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> FaultTable:
    """Enter what was injected and what it cost; other than nothing lost fails the test."""
    return request.config.stash.setdefault(_TABLE, FaultTable())


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Prints the rows that were entered."""
    table = config.stash.setdefault(_TABLE, FaultTable())
    if table.rows:
        terminalreporter.section("faults")
        for line in table.lines():
            terminalreporter.line(line)
