"""What must not be lost even with the whole store: unit ids, boots, removals, last records.

A small file beside the store with a checksum, replaced whole. A PLC reads a machine by its unit
id: were the ids given anew after a damaged store, it would read another machine and not know. The
devices' clocks are here as well, because they change all the time and are worth no commit.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import zlib
from pathlib import Path
from typing import Any

from clampgateway.store.kept import Kept
from clampgateway.store.removals import merge, row_of

_log = logging.getLogger(__name__)

VERSION = 1


def path_of(store: Path) -> Path:
    return store.with_name(store.name + ".facts")


def write(store: Path, kept: Kept) -> bool:
    """Replace the file; whether that succeeded (if not, it is logged, and the old one stays)."""
    numbers = [
        [kind, scope, key, number]
        for (kind, scope), given in kept.numbers.items()
        for key, number in given.items()
    ]
    heads = {
        key: [number, kept.boots.get(key, 0), *kept.heads.get(key, (0, 0))]
        for key, number in kept.device_ids.items()
    }
    content = json.dumps(
        {
            "version": VERSION,
            "devices": heads,
            "numbers": numbers,
            "cursors": kept.cursors,
            "last_id": kept.last_id,
            "removals": [row_of(*each) for each in kept.removals.items()],
            "clocks": kept.clocks,
        }
    )
    data = f"{zlib.crc32(content.encode()):08x}\n{content}\n".encode()
    path = path_of(store)
    new = path.with_name(path.name + ".new")
    try:
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        _log.warning("the facts beside the store cannot be written path=%s: %s", path, error)
        return False
    return True


def read_heads(store: Path, kept: Kept) -> int:
    """Add last numbers and clocks to `kept`; a store that is well knows the rest.

    Returns the highest id that the store had at that time, 0 if that is not known.
    """
    said = _content(store)
    if said is None:
        return 0
    for key, (_number, _highest, boot, seq) in said["devices"].items():
        kept.heads[key] = max((boot, seq), kept.heads.get(key, (0, 0)))
    kept.clocks = kept.clocks or said.get("clocks")
    return said["last_id"]


def read(store: Path, kept: Kept) -> bool:
    """Add all that the file says to `kept`; whether that was anything."""
    said = _content(store)
    if said is None:
        return False
    taken = set(kept.device_ids.values())
    for key, (number, highest, boot, seq) in said["devices"].items():
        if key not in kept.device_ids and number not in taken:
            kept.device_ids[key] = number
        kept.boots[key] = max(highest, kept.boots.get(key, 0))
        kept.heads[key] = max((boot, seq), kept.heads.get(key, (0, 0)))
    for kind, scope, key, number in said["numbers"]:
        numbers = kept.numbers.setdefault((kind, scope), {})
        if number not in numbers.values():
            numbers.setdefault(key, number)
    for name, at in said["cursors"].items():
        kept.cursors[name] = max(at, kept.cursors.get(name, 0))
    merge(kept.removals, said.get("removals", ()))
    kept.last_id = max(kept.last_id, said["last_id"])
    kept.clocks = kept.clocks or said.get("clocks")
    return bool(kept.device_ids or kept.numbers)


def _content(store: Path) -> dict[str, Any] | None:
    """What the file says; None without one, or if it is damaged."""
    try:
        check, _, content = path_of(store).read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.error("the facts beside the store cannot be read: %s", error)
        return None
    content = content.strip()
    if check == f"{zlib.crc32(content):08x}".encode():
        with contextlib.suppress(ValueError):
            said = json.loads(content)
            if isinstance(said, dict) and said.get("version") == VERSION:
                return said
    _log.error("the facts beside the store are damaged or of another version, left aside")
    return None
