"""Every generated document is what its source would write now."""

import sys
from pathlib import Path

import pytest

from clamptools import accuracy, gendocs
from clamptools.errors import UserError
from clamptools.interpreter import Interpreter


@pytest.mark.parametrize("row", gendocs.GENERATORS, ids=[row[0] for row in gendocs.GENERATORS])
def test_document_is_current(root_dir: Path, row: tuple[str, str]) -> None:
    try:
        found = gendocs.stale(root_dir, [row])
    except UserError as error:
        pytest.skip(f"{row[0]} cannot be made here: {error}")
    assert not found, f"{row[0]} is stale: make docs"


def test_every_generated_document_is_registered(root_dir: Path) -> None:
    written = {
        path.relative_to(root_dir).as_posix()
        for path in (root_dir / "docs").rglob("*.md")
        if "enerated from" in path.read_text(encoding="utf-8")[:500]
    }
    assert written <= {name for name, _ in gendocs.GENERATORS}


def _planted() -> str:
    return "new\n"


def test_stale_and_missing_documents_are_found(tmp_path: Path) -> None:
    generator = f"{_planted.__module__}:{_planted.__name__}"
    (tmp_path / "old.md").write_text("old\n")
    (tmp_path / "same.md").write_text("new\n")
    rows = [(name, generator) for name in ("old.md", "same.md", "missing.md")]
    found = gendocs.stale(tmp_path, rows)
    assert found == [(tmp_path / "old.md", "new\n"), (tmp_path / "missing.md", "new\n")]


def test_without_micropython_the_accuracy_is_skipped_and_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    none = Interpreter(sys.executable, "CPython 3 (no MicroPython found)", micropython=False)
    monkeypatch.setattr(accuracy, "find_interpreter", lambda: none)
    rows = [row for row in gendocs.GENERATORS if "accuracy" in row[0] or "registers" in row[0]]
    monkeypatch.setattr(gendocs, "GENERATORS", rows)
    assert gendocs.main(["--check"]) == 2
    shown = capsys.readouterr().err
    assert "docs/accuracy.md is skipped: the accuracy is measured under MicroPython" in shown
    assert "registers.md" not in shown
    assert len(shown.splitlines()) == 1
