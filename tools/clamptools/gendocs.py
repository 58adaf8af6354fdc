"""Writes the generated documents, and tells which of them are stale.

Owns the list of generators, not what they write: each lives beside its source, has a function
without arguments that returns the whole document, and needs a checkout.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from clamptools.data import device_dir
from clamptools.errors import UserError

# Document, relative to the checkout, and "module:function" that returns its text.
GENERATORS: tuple[tuple[str, str], ...] = (
    ("docs/accuracy.md", "clamptools.accuracy:render"),
    ("docs/clients/home_assistant.yaml", "clamptools.gendocs_clients:home_assistant"),
    ("docs/clients/mbmap.json", "clamptools.gendocs_clients:mbmap"),
    ("docs/clients/mbpoll.md", "clamptools.gendocs_clients:mbpoll"),
    ("docs/clients/node_red.json", "clamptools.gendocs_clients:node_red"),
    ("docs/clients/telegraf.conf", "clamptools.gendocs_clients:telegraf"),
    ("docs/registers.md", "clamptools.gendocs_registers:render"),
    ("docs/topics.md", "clamptools.gendocs_topics:render"),
    ("docs/wire.md", "clamptools.gendocs_wire:render"),
)


def render(generator: str) -> str:
    """Calls one generator; `generator` is `module:function`."""
    module, _, function = generator.partition(":")
    return getattr(importlib.import_module(module), function)()


def stale(
    root: Path, generators: Sequence[tuple[str, str]] = GENERATORS
) -> list[tuple[Path, str]]:
    """Returns path and new text of each document below `root` that is not what it would be."""
    found = []
    for name, generator in generators:
        path = root / name
        text = render(generator)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            found.append((path, text))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes stale documents; with --check only names them, and returns 1 if there are any.

    A document that cannot be made here is left as it is and told, the others are made; returns 2.
    """
    parser = argparse.ArgumentParser(prog="python -m clamptools.gendocs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if stale")
    options = parser.parse_args(arguments)
    root = device_dir().parent
    if not (root / "pyproject.toml").is_file():
        print("documents are generated in a checkout, not in an installation", file=sys.stderr)
        return 2
    found: list[tuple[Path, str]] = []
    skipped = 0
    for row in GENERATORS:
        try:
            found += stale(root, [row])
        except UserError as error:
            print(f"{row[0]} is skipped: {error}", file=sys.stderr)
            skipped += 1
    for path, text in found:
        if options.check:
            print(f"{path.relative_to(root)} is stale: make docs", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(root)}")
    if skipped:
        return 2
    return 1 if found and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
