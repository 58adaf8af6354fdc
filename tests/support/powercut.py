"""What the medium may hold after a power cut: images made of recorded file operations.

Between two syncs of a file the medium may have written any part of what it was given, in any
order and by sectors; after a sync it has it all. From one recorded run every moment is tried: all
of the unsynced kept (which is also what kill -9 leaves), all of it lost, single operations lost,
single sectors lost or torn. A deleted name may be back unless its folder was synced.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from support.sqlitevfs import IOERR_FSYNC, OK, Hooks

SECTOR_BYTES = 512
SECTOR_KEPT, SECTOR_TORN = 0.45, 0.05
KEPT, LOST, OPERATIONS, SECTORS = "kept", "lost", "operations", "sectors"


class Operation(NamedTuple):
    """write (at, data), truncate (at), sync, delete (at: whether durable), or a mark (at).

    "failed sync": an error was told, and what was written may never reach the medium, although
    it is still read back until the power goes.
    """

    what: str
    name: str = ""
    at: int = 0
    data: bytes = b""


class Recorder(Hooks):
    """Writes down what SQLite does; `mark` puts the number of promises given so far beside it."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def write(self, name: str, offset: int, data: bytes) -> int:
        self.operations.append(Operation("write", name, offset, data))
        return OK

    def truncate(self, name: str, size: int) -> int:
        self.operations.append(Operation("truncate", name, size))
        return OK

    def sync(self, name: str) -> int:
        self.operations.append(Operation("sync", name))
        return OK

    def delete(self, name: str, sync_folder: bool) -> int:
        self.operations.append(Operation("delete", name, int(sync_folder)))
        return OK

    def mark(self, promises: int) -> None:
        self.operations.append(Operation("mark", at=promises))


class FailingRecorder(Recorder):
    """The same, with a share of all syncs failing."""

    def __init__(self, share: float, seed: int) -> None:
        super().__init__()
        self._share = share
        self._chance = random.Random(seed)
        self.failed = 0

    def sync(self, name: str) -> int:
        if self._chance.random() >= self._share:
            return super().sync(name)
        self.failed += 1
        self.operations.append(Operation("failed sync", name))
        return IOERR_FSYNC


@dataclass
class Medium:
    """Durable content by name, what is read back now, and what came since each last sync."""

    durable: dict[str, bytearray] = field(default_factory=dict)
    cached: dict[str, bytearray] = field(default_factory=dict)
    pending: dict[str, list[Operation]] = field(default_factory=dict)
    ghosts: dict[str, bytes] = field(default_factory=dict)

    def take(self, operation: Operation) -> None:
        name = operation.name
        if operation.what in ("write", "truncate"):
            self.pending.setdefault(name, []).append(operation)
            start = self.durable.get(name, b"")
            _apply(self.cached.setdefault(name, bytearray(start)), operation)
        elif operation.what == "failed sync":
            self.pending.pop(name, None)  # the worst: the kernel takes it for written
        elif operation.what == "sync":
            content = self.durable.setdefault(name, bytearray())
            for each in self.pending.pop(name, []):
                _apply(content, each)
            self.ghosts.clear()
        elif operation.what == "delete":
            gone = bytes(self.durable.pop(name, b""))
            self.cached.pop(name, None)
            self.pending.pop(name, None)
            if not operation.at:
                self.ghosts[name] = gone

    def image(self, mode: str, chance: random.Random) -> dict[str, bytes]:
        """Files as a power cut at this moment may leave them."""
        out: dict[str, bytes] = {}
        if mode == KEPT:  # no power cut: the process alone was killed
            names = {*self.durable, *self.cached}
            return {
                name: bytes(self.cached.get(name, self.durable.get(name, b""))) for name in names
            }
        for name in sorted({*self.durable, *self.pending}):
            content = bytearray(self.durable.get(name, b""))
            for operation in self.pending.get(name, ()):
                if mode != LOST and operation.what == "truncate":
                    if chance.random() < 0.5:
                        _apply(content, operation)
                elif mode == OPERATIONS and chance.random() < 0.5:
                    _apply(content, operation)
                elif mode == SECTORS:
                    _apply_sectors(content, operation, chance)
            if content or name in self.durable:
                out[name] = bytes(content)
        if mode in (OPERATIONS, SECTORS):
            for name, content in self.ghosts.items():
                if name not in out and chance.random() < 0.5:
                    out[name] = content
        return out


def _apply(content: bytearray, operation: Operation) -> None:
    at, data = operation.at, operation.data
    if operation.what == "truncate":
        del content[at:]
        content.extend(bytes(at - len(content)))
        return
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


def _apply_sectors(content: bytearray, operation: Operation, chance: random.Random) -> None:
    at, data = operation.at, operation.data
    done = 0
    while done < len(data):
        size = min(SECTOR_BYTES - (at + done) % SECTOR_BYTES, len(data) - done)
        fate = chance.random()
        part = data[done : done + size]
        if fate < SECTOR_TORN:
            part = chance.randbytes(size)
        if fate < SECTOR_TORN + SECTOR_KEPT:
            _apply(content, Operation("write", at=at + done, data=part))
        done += size


def images(
    operations: list[Operation],
    start: dict[str, bytes],
    modes: list[str],
    seed: int,
) -> Iterator[tuple[int, int, dict[str, bytes]]]:
    """(number of the operation, promises given, files) for every moment and each of `modes`."""
    chance = random.Random(seed)
    medium = Medium({name: bytearray(content) for name, content in start.items()})
    promises = 0
    for number, operation in enumerate(operations):
        if operation.what == "mark":
            promises = operation.at
            continue
        medium.take(operation)
        for mode in modes:
            yield number, promises, medium.image(mode, chance)


def lay_out(files: dict[str, bytes], folder: Path) -> None:
    """Make `folder` hold these files and no others."""
    for old in folder.iterdir():
        if old.name not in files:
            old.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
