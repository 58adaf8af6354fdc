"""A child process with a log file, started and ended by its process id.

Owns starting (tied to our own life), ending with a deadline, and what the log says when a child
ended too early. Which children there are is the others' business.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

LOG_TAIL_LINES = 15
STOP_TIMEOUT_S = 10.0


class ChildError(Exception):
    """A child process ended when it should not have, or did not come up."""


class Child:
    """One process. `log` gets its standard error, and its standard output unless given.

    Args:
        name: What messages call it.
        command: The argument vector.
        log: File that is appended to.
        cwd: Its working folder.
        env: Its environment; ours if None.
        terminal: A file descriptor for its standard input and output, closed here afterwards;
            without it the child reads a pipe that closes when we end.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        terminal: int | None = None,
    ) -> None:
        self.name = name
        self.log = log
        try:
            with log.open("ab") as out:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "clamptools.tether", *command],
                    stdin=subprocess.PIPE if terminal is None else terminal,
                    stdout=out if terminal is None else terminal,
                    stderr=out,
                    cwd=cwd,
                    env=dict(env) if env is not None else None,
                    # Its own session: Ctrl-C in our terminal is for us, who end it in order.
                    start_new_session=True,
                )
        finally:
            if terminal is not None:
                os.close(terminal)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The exit code, None while it runs."""
        return self._process.poll()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def check(self) -> None:
        """Raises ChildError if it has ended."""
        if not self.running:
            raise ChildError(f"{self.name} ended with code {self.code}:\n{self.tail()}")

    def tail(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-LOG_TAIL_LINES:])

    def send(self, number: signal.Signals) -> None:
        """Sends a signal; nothing if it has ended."""
        if self.running:
            self._process.send_signal(number)

    def wait(self, timeout_s: float) -> bool:
        """Waits for its end; whether it ended in time."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        return not self.running

    def stop(
        self, number: signal.Signals = signal.SIGTERM, timeout_s: float = STOP_TIMEOUT_S
    ) -> bool:
        """Ends it by a signal, by SIGKILL after the timeout; whether the first was enough."""
        self.send(number)
        in_time = self.wait(timeout_s)
        if not in_time:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        return in_time

    def kill(self) -> None:
        """Ends it as a power cut does (SIGKILL)."""
        self.stop(signal.SIGKILL)


def free_ports(count: int) -> list[int]:
    """Returns `count` different TCP ports on loopback that were free a moment ago."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def wait_listening(child: Child, port: int, timeout_s: float) -> None:
    """Waits until somebody accepts connections on the port.

    Raises:
        ChildError: The child ended, or nobody does within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        child.check()
        with socket.socket() as probe:
            probe.settimeout(1.0)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > deadline:
            raise ChildError(
                f"{child.name} does not listen on port {port} after {timeout_s:g} s:\n"
                f"{child.tail()}"
            )
        time.sleep(0.05)
