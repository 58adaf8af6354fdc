"""Fixtures of the tests on hardware and on the emulated Pico.

The emulated ones need a MicroPython UF2 for the Pico, named by PICO_UF2, and take minutes: they
run with `make hil`, not with `make test`. What they measure is printed at the end.
"""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytest_plugins = ("support.measured",)


@pytest.fixture
def measured(request: pytest.FixtureRequest, report_line: Callable) -> Callable[[str], None]:
    """Adds a line to the closing report, and says it at once: these tests take minutes."""

    def tell(line: str) -> None:
        report_line(f"{request.node.name}: {line}")
        print(line, flush=True)

    return tell


@pytest.fixture
def pico_uf2() -> Path:
    """MicroPython's firmware for the Pico, which somebody else provides; skips without."""
    named = os.environ.get("PICO_UF2")
    if not named:
        pytest.skip("PICO_UF2 names no MicroPython UF2 for the Raspberry Pi Pico")
    path = Path(named)
    if not path.is_file():
        pytest.fail(f"PICO_UF2 is {named}: there is no such file")
    return path


@pytest.fixture
def emulated(pico_uf2: Path) -> Callable:
    """Makes boards with a test's files, at the prompt, for `async with`."""
    from emulator import Pico

    @asynccontextmanager
    async def board(files: dict[str, bytes], divide: str = "") -> AsyncIterator[Pico]:
        pico = Pico(pico_uf2)
        await pico.start()
        try:
            await pico.load(files, divide)
            await pico.reset()
            yield pico
        finally:
            pico.stop()

    return board
