"""Finds the interpreter that runs the firmware on this computer, and how to start it.

Real MicroPython comes first: the build that MICROPYTHON names, the one of the environment, the
one on the PATH. Without any, the same files run under CPython, and `Interpreter.text` says so
wherever a device is shown. What a device does once it runs is the firmware's business.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from clamptools.data import device_dir
from clamptools.errors import UserError

# 256 KB stand for the 140 KB that are left on a board, since objects are twice as wide on a 64-bit
# PC; 128 KB more are for the world that a simulated board plays to itself (code, scenario, tables)
# and for compiling modules that a board has as .mpy.
HEAP = "384k"
PROBE_TIMEOUT_S = 10.0
_PROBE = "import sys; i = sys.implementation; print(i[0] + ' ' + '.'.join(map(str, i[1][:3])))"


@dataclass(frozen=True)
class Interpreter:
    """A program that runs the firmware's files.

    Attributes:
        program: Path of the executable.
        text: What it calls itself, e.g. `MicroPython 1.28.0` or `CPython 3.11.7 (no MicroPython
            found)`.
        micropython: Whether it is MicroPython.
    """

    program: str
    text: str
    micropython: bool

    def command(self, script: Path, *arguments: str, heap: str = HEAP) -> list[str]:
        """The argument vector that runs `script`; `heap` limits MicroPython's heap."""
        options = ["-X", f"heapsize={heap}"] if self.micropython else []
        return [self.program, *options, str(script), *arguments]

    def environment(self) -> dict[str, str]:
        """The environment in which the firmware's packages are found."""
        folder = device_dir()
        environment = {**os.environ, "MICROPYPATH": f"{folder}:.frozen"}
        if not self.micropython:
            # Unbuffered and without .pyc files: as little beside the firmware as may be.
            environment.update(
                PYTHONPATH=str(folder), PYTHONUNBUFFERED="1", PYTHONDONTWRITEBYTECODE="1"
            )
        return environment

    def lines(self, script: str, *arguments: str, heap: str = HEAP) -> list[str]:
        """What `script` of the folder clampdevice prints until it ends.

        Raises:
            UserError: It failed; with its last words.
        """
        done = subprocess.run(
            self.command(device_dir() / "clampdevice" / script, *arguments, heap=heap),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            words = (done.stderr + done.stdout).strip().splitlines()
            raise UserError(f"the firmware refused it: {words[-1] if words else 'no word'}")
        return done.stdout.splitlines()


def find_interpreter() -> Interpreter:
    """Returns the interpreter for simulated devices.

    Raises:
        UserError: MICROPYTHON names something that does not run as MicroPython.
    """
    named = os.environ.get("MICROPYTHON")
    if named:
        program = shutil.which(named)
        if program is None:
            raise UserError(f"MICROPYTHON={named} is no executable: correct or unset it")
        return Interpreter(program, _ask(program, f"MICROPYTHON={named}"), micropython=True)
    beside = str(Path(sys.executable).parent)
    program = shutil.which(
        "micropython", path=os.pathsep.join((beside, os.environ.get("PATH", "")))
    )
    if program is not None:
        return Interpreter(program, _ask(program, program), micropython=True)
    version = ".".join(map(str, sys.version_info[:3]))
    return Interpreter(
        sys.executable, f"CPython {version} (no MicroPython found)", micropython=False
    )


def _ask(program: str, named: str) -> str:
    """Name and version of a MicroPython. Raises UserError if it is none."""
    try:
        done = subprocess.run(
            [program, "-c", _PROBE],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{named} does not run: {error}") from error
    name, _, version = done.stdout.strip().partition(" ")
    if done.returncode != 0 or name != "micropython":
        said = (done.stdout + done.stderr).strip().splitlines()
        raise UserError(
            f"{named} is no MicroPython: it answered {said[-1] if said else 'nothing'!r}"
        )
    return f"MicroPython {version}"
