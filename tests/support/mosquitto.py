"""A real mosquitto on a loopback port of its own, to start, stop, kill and start again.

Owns the process, its configuration file and its folder of persistent data. Without persistence,
as with the package's defaults, a killed broker loses every queued message.
"""

import os
import signal
import subprocess
from pathlib import Path

from support.ports import free_port, listens, wait_for


class Mosquitto:
    """One broker. `start` after `stop` or `kill` keeps port, configuration and stored data.

    Args:
        program: Path of the mosquitto executable.
        folder: An empty folder for configuration, log and stored data.
        extra: Further lines of mosquitto.conf; a second `listener` may follow here.
        persistence: Whether sessions and queues are written to the folder, on SIGTERM and
            `autosave_s` after a change.
        autosave_s: Seconds between two writes of the store; 0 means only at the end.
        allow_anonymous: Whether clients without a user name are let in.
        port: TCP port on 127.0.0.1; a free one if None.
    """

    def __init__(
        self,
        program: str,
        folder: Path,
        *,
        extra: str = "",
        persistence: bool = False,
        autosave_s: int = 0,
        allow_anonymous: bool = True,
        port: int | None = None,
    ) -> None:
        self.port = free_port() if port is None else port
        self.host = "127.0.0.1"
        self.log = folder / "mosquitto.log"
        self._program = program
        self._config = folder / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"allow_anonymous {str(allow_anonymous).lower()}",
            f"persistence {str(persistence).lower()}",
            f"persistence_location {folder}/",
            f"autosave_interval {autosave_s}",
            "log_dest stderr",
            "log_type all",
        ]
        if os.geteuid() == 0:
            # Otherwise it gives up root for a user who may not write to the folder.
            lines.append("user root")
        self._config.write_text("\n".join([*lines, extra, ""]))

    @property
    def pid(self) -> int:
        """The process id; raises RuntimeError if the broker does not run."""
        if self._process is None:
            raise RuntimeError("the broker does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout_s: float = 30.0) -> None:
        """Starts the broker and returns when it accepts connections."""
        if self.running:
            raise RuntimeError("the broker runs already")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", str(self._config)], stdin=subprocess.DEVNULL, stderr=log
            )
        wait_for(self._up, timeout_s, f"mosquitto on port {self.port}")

    def stop(self, timeout_s: float = 30.0) -> None:
        """Ends the broker as an operator does (SIGTERM): it writes its store, if it keeps one.

        That may take its time on a disk that others use.
        """
        self._end(signal.SIGTERM, timeout_s)

    def kill(self) -> None:
        """Ends the broker as a power cut does (SIGKILL)."""
        self._end(signal.SIGKILL, 10.0)

    def _up(self) -> bool:
        if not self.running:
            raise RuntimeError(f"mosquitto ended at once:\n{self.log.read_text()}")
        return listens(self.port)

    def _end(self, number: signal.Signals, timeout_s: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout_s)
            raise
