"""Which interpreter runs simulated devices, and that everything says which."""

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from clamptools import cli
from clamptools.errors import UserError
from clamptools.interpreter import find_interpreter
from support.micropython import need_micropython


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No MicroPython beside us, on the PATH, or named."""
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PATH", str(python.parent))
    monkeypatch.delenv("MICROPYTHON", raising=False)
    return python


def test_found_beside_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MICROPYTHON", raising=False)
    expected = need_micropython()
    found = find_interpreter()
    assert (found.program, found.micropython) == (expected, True)
    assert found.text.startswith("MicroPython 1.")
    command = found.command(Path("main.py"), "a", heap="200k")
    assert command == [expected, "-X", "heapsize=200k", "main.py", "a"]


def test_named_one_goes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = script(tmp_path / "upy", "echo micropython 1.25.0")
    monkeypatch.setenv("MICROPYTHON", str(fake))
    found = find_interpreter()
    assert (found.program, found.text) == (str(fake), "MicroPython 1.25.0")


@pytest.mark.parametrize(
    ("answer", "words"), [("echo cpython 3.11.7", "is no MicroPython"), ("exit 3", "nothing")]
)
def test_named_one_must_be_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str, words: str
) -> None:
    monkeypatch.setenv("MICROPYTHON", str(script(tmp_path / "upy", answer)))
    with pytest.raises(UserError, match=words):
        find_interpreter()
    monkeypatch.setenv("MICROPYTHON", str(tmp_path / "absent"))
    with pytest.raises(UserError, match="no executable"):
        find_interpreter()


def test_cpython_says_so(nowhere: Path) -> None:
    found = find_interpreter()
    assert (found.program, found.micropython) == (str(nowhere), False)
    assert "CPython" in found.text
    assert "no MicroPython found" in found.text


def test_firmware_runs_under_cpython(
    nowhere: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same files, the same numbers, and a word about it."""
    del nowhere
    recording = tmp_path / "i.csv"
    recording.write_text("\n".join(str(2 * (n % 2) - 1) for n in range(400)))
    arguments = ["replay", str(recording), "--kind", "current", "--rate", "1000", "--json"]
    assert cli.main([*arguments, "--full-scale", "2"]) == 0
    captured = capsys.readouterr()
    assert "under CPython" in captured.err
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert [line["rms"] for line in lines] == pytest.approx([1.0, 1.0], rel=1e-3)
    assert os.environ.get("MICROPYTHON") is None
