"""Starts gateways whose file operations fail or kill them, one after the other, by fork.

Run as a program: it imports everything once, then makes a process a request, so that hundreds of
lives cost seconds. A request is a line of JSON on standard input (see `Life`); each answer is a
line: the process's number, later how it ended. Unless told otherwise a life commits at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from clampgateway import committer
from clampgateway.store import Store
from clamptools.framedevice import FrameDevice
from clamptools.gatewayhalf import STORE_FILE, GatewayHalf, run_until_term
from support.sqlitevfs import FULL, IOERR_FSYNC, IOERR_WRITE, OK, READONLY, Hooks, installed

INJECTED_FILE = "injected"
ERRORS = {"EIO": (IOERR_WRITE, IOERR_FSYNC), "ENOSPC": (FULL, FULL), "EROFS": (READONLY, OK)}


@dataclass
class Life:
    """One life of a gateway.

    `kill_at`: SIGKILL before so many writes, syncs and truncations of database files (0: never).
    `errors`: words of ERRORS, injected in bursts. `full_bytes`: the disk is full from this size of
    all database files on, while `folder/full` exists.
    """

    folder: str
    kill_at: int = 0
    errors: tuple[str, ...] = ()
    full_bytes: int = 0
    seed: int = 0
    quota_bytes: int | None = None


class _Spoiler(Hooks):
    def __init__(self, life: Life) -> None:
        self._life = life
        self._chance = random.Random(life.seed)
        self._count = self._burst = 0
        self._code = (OK, OK)
        self._next = self._chance.randrange(10, 40)
        self._sizes: dict[str, int] = {}
        self.injected = 0

    def write(self, name: str, offset: int, data: bytes) -> int:
        return self._full(name, offset + len(data)) or self._spoil(0)

    def truncate(self, name: str, size: int) -> int:
        self._sizes[name] = size
        return self._spoil(0)

    def sync(self, name: str) -> int:
        return self._spoil(1)

    def _full(self, name: str, size: int) -> int:
        grown = max(size, self._sizes.get(name, 0))
        sizes = {**self._sizes, name: grown}
        limit = self._life.full_bytes
        if limit and sum(sizes.values()) > limit and (Path(self._life.folder) / "full").exists():
            self.injected += 1
            return FULL
        self._sizes = sizes
        return OK

    def _spoil(self, sync: int) -> int:
        self._count += 1
        if self._count == self._life.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if not self._life.errors:
            return OK
        if self._burst == 0 and self._count >= self._next:
            self._burst = self._chance.randrange(1, 9)
            self._code = ERRORS[self._chance.choice(self._life.errors)]
        if self._burst == 0:
            return OK
        self._burst -= 1
        if self._burst == 0:
            self._next = self._count + self._chance.randrange(10, 60)
        self.injected += self._code[sync] != OK
        return self._code[sync]


def _live(life: Life) -> None:
    # Test speed: each item is a commit, a failure is tried again at once.
    committer.EAGER_ITEMS = 1
    committer.RETRY_FIRST_S = 0.01
    committer.RETRY_MOST_S = 0.05
    folder = Path(life.folder)
    spoiler = _Spoiler(life)
    path = folder / "socket"
    path.unlink(missing_ok=True)
    with installed(spoiler):
        run_until_term(GatewayHalf(folder, 0.05, life.quota_bytes), path)
    (folder / INJECTED_FILE).write_text(str(spoiler.injected))


def _serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        life = Life(**{**request, "errors": tuple(request["errors"])})
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                _live(life)
                code = 0
            finally:
                os._exit(code)
        print(pid, flush=True)
        _pid, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


class FaultServer:
    """The program above, and a line to the gateway it made last."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = 0
        self.folder = Path()

    def start(self, life: Life) -> None:
        """A gateway begins to live; the one before has ended."""
        assert self._process.stdin is not None
        self.folder = Path(life.folder)
        self._process.stdin.write(json.dumps(asdict(life)) + "\n")
        self._process.stdin.flush()
        self.pid = int(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the fault server ended"
        return line

    def make_store(self, folder: Path) -> None:
        """A first life without a fault: a new store takes more writes than lie between bursts."""
        self.start(Life(str(folder)))
        line = self.connect()
        assert line is not None
        line.close()
        assert self.stop() == 0

    def ended(self) -> int:
        """Wait for the end of the life; its exit code, minus the signal if it was killed."""
        return int(self._answer())

    def stop(self) -> int:
        """End the life in order; its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.ended()

    def connect(self, timeout_s: float = 10.0) -> socket.socket | None:
        """A line to the gateway; None if it died before it listened."""
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            line = socket.socket(socket.AF_UNIX)
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                line.connect(str(self.folder / "socket"))
                line.setblocking(False)
                return line
            line.close()
            if self._over():
                return None
            time.sleep(0.002)
        raise TimeoutError("the gateway does not listen")

    def _over(self) -> bool:
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], 0)[0])


@contextlib.contextmanager
def fault_server() -> Iterator[FaultServer]:
    """The program, ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "support.faultserver"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        yield FaultServer(process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def talk(device: FrameDevice, line: socket.socket, until) -> bool:  # noqa: ANN001 - () -> bool
    """Let the device send and hear until `until()`; False if the line broke before."""
    rest = b""
    while not until():
        rest += device.take()
        try:
            if rest:
                rest = rest[line.send(rest) :]
            if select.select([line], [], [], 0.002)[0]:
                data = line.recv(65536)
                if not data:
                    return False
                device.receive(data)
        except BlockingIOError:
            continue
        except OSError:
            return False
    return True


def account(folder: Path, device: FrameDevice) -> tuple[int, int]:
    """(acknowledged records that are not there as they were made, records there twice)."""
    with contextlib.closing(sqlite3.connect(folder / STORE_FILE)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    store = Store(folder / STORE_FILE)
    assert store.alarm == ""
    found = [stored.item for stored in store.read_after(0, 1_000_000)]
    store.close()
    there = {one.seq: one.payload for one in found}
    assert all(device.made[seq] == payload for seq, payload in there.items())
    return len(device.acked - set(there)), len(found) - len(there)


if __name__ == "__main__":
    _serve()
