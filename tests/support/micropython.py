"""Where a MicroPython is, and how a script runs in it with the firmware on its path."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.skips import ROOT

HEAP = "256k"


def need_micropython() -> str:
    """Returns the interpreter: MICROPYTHON, else the one in the environment, else the PATH's.

    Skips the test where there is none.
    """
    override = os.environ.get("MICROPYTHON")
    if override:
        found = shutil.which(override)
        if not found:
            pytest.fail(f"MICROPYTHON={override} is no executable")
        return found
    beside = str(Path(sys.executable).parent)
    search = os.pathsep.join((beside, os.environ.get("PATH", "")))
    found = shutil.which("micropython", path=search)
    if not found:
        pytest.skip(
            "no MicroPython: its package has no build for this machine, and MICROPYTHON is not set"
        )
    return found


@dataclass(frozen=True)
class Run:
    """What a script said under MicroPython."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """Both streams, for the message of a failed assertion."""
        return self.stdout + self.stderr


def run_micropython(
    script: Path, *arguments: str, heap: str = HEAP, timeout_s: float = 100.0
) -> Run:
    """Runs a script under MicroPython with `device/` on its path.

    Args:
        script: The file to run.
        arguments: Its arguments.
        heap: Size of the heap. 256 KB stand for the 140 KB left on a board, because objects are
            twice as wide here.
        timeout_s: After this the process is killed and `subprocess.TimeoutExpired` raised.
    """
    environment = {**os.environ, "MICROPYPATH": f"{ROOT / 'device'}:.frozen"}
    done = subprocess.run(
        [need_micropython(), "-X", f"heapsize={heap}", str(script), *arguments],
        capture_output=True,
        env=environment,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr)
