"""The fixture by which a test enters its row in the table of faults."""

import pytest

from support.faulttable import FaultTable
from support.measured import FAULTS


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> FaultTable:
    """Enter what was injected and what it cost; other than nothing lost fails the test."""
    return request.config.stash[FAULTS]
