"""What tests measured, printed before pytest's closing line: the hooks of a conftest.

A conftest takes them by name: `from support.measured import pytest_configure, ...`.
"""

from collections.abc import Callable

import pytest

_LINES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Makes room for the lines of `report_line`."""
    config.stash[_LINES] = []


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Prints what the tests measured."""
    lines = config.stash[_LINES]
    if lines:
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture
def report_line(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Adds a line to the closing report: a number with its unit, and what was measured."""
    return request.config.stash[_LINES].append
