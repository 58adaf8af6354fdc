"""What fault tests share: their table of faults, and a folder for many images of a store."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.faulttable import FaultTable
from support.measured import FAULTS

MEMORY = Path("/dev/shm")


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> FaultTable:
    """Enter what was injected and what it cost; other than nothing lost fails the test."""
    return request.config.stash[FAULTS]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: thousands of images are written."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(prefix="clampwork-", dir=MEMORY))
    yield made
    shutil.rmtree(made)
