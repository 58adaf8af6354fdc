"""Every generated document is what its source would write now."""

from pathlib import Path

import pytest

from clamptools import gendocs


@pytest.mark.parametrize("row", gendocs.GENERATORS, ids=[row[0] for row in gendocs.GENERATORS])
def test_document_is_current(root_dir: Path, row: tuple[str, str]) -> None:
    found = gendocs.stale(root_dir, [row])
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
