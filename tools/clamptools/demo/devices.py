"""A simulated device: the firmware's own process at the end of a pty, and its side file.

The process has the pty's master as standard input and output; the gateway opens the other end,
which has a path, as its serial port. So an ended device is an unplugged port (the gateway's read
fails at once), and an absent gateway is a host that does not read. What machine it sits on is
`clamptools.machines`; what its numbers should be is `account.py`.
"""

from __future__ import annotations

import json
import os
import signal
import time
import tty
from pathlib import Path
from typing import Any, NamedTuple

from clamptools.data import device_dir
from clamptools.demo.processes import Child, ChildError
from clamptools.interpreter import Interpreter

SIDE_FILE = "made.jsonl"
UP_TIMEOUT_S = 15.0
PRINTED_MAX = 4096


class Plan(NamedTuple):
    """A device to be: the content of its board.json and scenario.json."""

    board: dict[str, Any]
    scenario: dict[str, Any]


class Made(NamedTuple):
    """An item as the device wrote it down beside the link.

    `kind` is the message type, `end_ms` device time, `payload` the message with its checksum
    `crc`; `power_up` the index of the power-up it was made in.
    """

    power_up: int
    boot: int
    seq: int
    kind: int
    end_ms: int
    crc: int
    payload: bytes


class PowerUp(NamedTuple):
    """The head a device writes at its start.

    `start_us` is the device time of the first sample, `start_utc_ms` the computer's clock then;
    `describes` the Describe payloads; `runtime` the interpreter by its own word.
    """

    device: str
    start_us: int
    start_utc_ms: float
    runtime: str
    describes: tuple[bytes, ...]

    def utc_ms(self, device_ms: float) -> float:
        """This computer's clock, UTC in ms, at a device time: the truth, without the gateway."""
        return self.start_utc_ms + device_ms - self.start_us / 1000


class SimulatedDevice:
    """One device with a folder as its flash.

    Args:
        folder: An empty folder, made if need be.
        ports: Folder in which `name` becomes a link to the serial port while the device runs;
            the gateway is told of this folder, so that a path that another program may get
            after us is never opened.
        plan: What it is; `name` in its board is the device's.
        interpreter: What runs the firmware.
    """

    def __init__(
        self,
        folder: Path,
        ports: Path,
        plan: Plan,
        interpreter: Interpreter,
    ) -> None:
        self.board, self.scenario = plan
        self.name: str = self.board["name"]
        self.folder = folder
        self.side_file = SideFile(folder / SIDE_FILE)
        self.port = ports / self.name
        self._interpreter = interpreter
        self._child: Child | None = None
        self._ends: tuple[int, ...] = ()
        self._heads = 0
        folder.mkdir(parents=True, exist_ok=True)
        ports.mkdir(parents=True, exist_ok=True)
        (folder / "board.json").write_text(json.dumps(self.board))
        (folder / "scenario.json").write_text(json.dumps(self.scenario))

    @property
    def pid(self) -> int:
        """The process id; raises ChildError if the device is off."""
        return self._running().pid

    def start(self) -> None:
        """Powers the device up: a new process at a new pty, which nobody can open yet."""
        self._heads = self.side_file.heads()
        master, slave = os.openpty()
        # Before anyone opens the port: a fresh terminal would echo every byte to the device.
        tty.setraw(slave)
        os.set_blocking(master, False)
        os.set_blocking(slave, False)
        # Both ends stay open until the firmware runs: what it prints before it dies is not lost.
        self._ends = (os.dup(master), slave)
        self._child = Child(
            f"device {self.name}",
            self._interpreter.command(device_dir() / "main.py"),
            self.folder / "log",
            cwd=self.folder,
            env=self._interpreter.environment(),
            terminal=master,
        )

    def plug_in(self, timeout_s: float = UP_TIMEOUT_S) -> None:
        """Waits until the firmware runs, then lets the gateway find the port.

        Raises:
            ChildError: It ended instead, or does not come up; with what it printed.
        """
        child = self._running()
        deadline = time.monotonic() + timeout_s
        try:
            while self.side_file.heads() <= self._heads:
                if not child.running or time.monotonic() > deadline:
                    raise ChildError(f"device {self.name} does not come up:\n{self._printed()}")
                time.sleep(0.02)
            self.port.symlink_to(os.ttyname(self._ends[1]))
        finally:
            self._let_go()

    def _let_go(self) -> None:
        ends, self._ends = self._ends, ()
        for end in ends:
            os.close(end)

    def _printed(self) -> str:
        try:
            text = os.read(self._ends[1], PRINTED_MAX).decode(errors="replace")
        except BlockingIOError:
            text = ""
        return text + self._running().tail()

    def check(self) -> None:
        """Raises ChildError if the device is off or its process has ended."""
        self._running().check()

    def stop(self) -> None:
        """Ends the firmware as Ctrl-C does."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Cuts the power (SIGKILL)."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        child, self._child = self._child, None
        self._let_go()
        if child is not None:
            self.port.unlink(missing_ok=True)
            child.stop(number)

    def _running(self) -> Child:
        if self._child is None:
            raise ChildError(f"device {self.name} is off")
        return self._child


class SideFile:
    """Follows a device's side file; `read` returns what was written since the last call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.power_ups: list[PowerUp] = []

    def heads(self) -> int:
        """How many power-ups are in the file, read or not."""
        if not self._path.exists():
            return 0
        return self._path.read_bytes().count(b'"describes"')

    def read(self) -> list[Made]:
        """New items, oldest first; a line that is not complete yet waits for the next call.

        Raises:
            ValueError: A complete line is not what a device writes.
        """
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        end = data.rfind(b"\n") + 1
        self._offset += end
        items: list[Made] = []
        for line in data[:end].splitlines():
            entry = json.loads(line)
            if "device" in entry:
                self.power_ups.append(
                    PowerUp(
                        entry["device"],
                        entry["start_us"],
                        entry["start_utc_ms"],
                        entry["runtime"],
                        tuple(bytes.fromhex(text) for text in entry["describes"]),
                    )
                )
            else:
                items.append(
                    Made(
                        len(self.power_ups) - 1,
                        entry["boot"],
                        entry["seq"],
                        entry["kind"],
                        entry["end_ms"],
                        entry["crc"],
                        bytes.fromhex(entry["payload"]),
                    )
                )
        return items
