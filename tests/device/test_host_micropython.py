"""The device's and the wire's tests once more, under MicroPython, one process a file.

CPython runs the same files through pytest itself; see `run_micropython.py` for the other half.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from support.micropython import HEAP, run_micropython
from support.skips import ROOT

RUNNER = ROOT / "tests/device/run_micropython.py"
SUM = re.compile(r"^sum: passed (\d+) failed (\d+) least_free (-?\d+) heap (\d+)$", re.MULTILINE)
FILES = sorted(
    path
    for folder in ("device", "wire")
    for path in (ROOT / "tests" / folder).glob("test_*.py")
    if not path.name.startswith("test_host_")
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_passes_under_micropython(path: Path, report_line: Callable[[str], None]) -> None:
    run = run_micropython(RUNNER, str(path))
    closing = SUM.search(run.stdout)
    assert closing, run.output
    passed, failed, least, heap = (int(figure) for figure in closing.groups())
    assert run.returncode == 0, run.output
    assert passed > 0
    assert failed == 0
    report_line(
        f"micropython {path.relative_to(ROOT / 'tests')}: {passed} passed, "
        f"least free heap {least:,} of {heap:,} bytes"
    )


def test_there_is_something_to_run() -> None:
    assert FILES


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def test_wrong():\n    assert 1 + 1 == 3\n", "AssertionError"),
        ("def test_broken():\n    raise ValueError('cause')\n", "ValueError: cause"),
        ("import no_such_module\ndef test_fine():\n    pass\n", "ImportError"),
        ("def helper():\n    pass\n", "holds no test"),
        ("def test_large():\n    bytearray(1 << 20)\n", "MemoryError"),
    ],
    ids=["assertion", "exception", "import", "empty", "heap"],
)
def test_runner_fails_when_a_test_does(tmp_path: Path, source: str, said: str) -> None:
    path = tmp_path / "test_planted.py"
    path.write_text(source)
    run = run_micropython(RUNNER, str(path), heap=HEAP)
    assert run.returncode == 1, run.output
    assert said in run.stdout
    assert "failed 1 " in run.stdout


def test_runner_finds_the_files_by_itself() -> None:
    run = run_micropython(RUNNER)
    ran = {
        line.split(" ")[0].rsplit("/", 1)[1]
        for line in run.stdout.splitlines()
        if "least free" in line
    }
    assert ran == {path.name for path in FILES}, run.output
