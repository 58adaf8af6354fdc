"""What end-to-end tests share: a demo as a process of its own, and external clients' commands."""

import json
import re
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.ports import wait_for

_ADDRESS = {
    "mqtt": re.compile(r"MQTT broker .* 127\.0\.0\.1:(\d+)"),
    "modbus": re.compile(r"Modbus TCP .* 127\.0\.0\.1:(\d+)"),
    "api": re.compile(r"HTTP API .*127\.0\.0\.1:(\d+)"),
}


@dataclass
class DemoEnd:
    """How a demo ended. `result` is the JSON object of its last line, empty without one."""

    code: int
    stdout: str
    stderr: str
    result: dict[str, Any]


class DemoProcess:
    """`clampwork demo` with the given arguments; its ports are known once it printed them."""

    def __init__(self, *arguments: str, folder: Path) -> None:
        self._stderr = folder / "stderr"
        with self._stderr.open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "clamptools.cli", "demo", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=err,
            )
        self._out: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ports(self, timeout_s: float = 30.0) -> dict[str, int]:
        """TCP ports by what they serve; waits until all are printed."""

        def found() -> dict[str, int] | None:
            if self._process.poll() is not None:
                raise RuntimeError(f"the demo ended:\n{self._stderr.read_text()}")
            text = self._stderr.read_text()
            matches = {name: pattern.search(text) for name, pattern in _ADDRESS.items()}
            ports = {name: int(match[1]) for name, match in matches.items() if match}
            return ports if len(ports) == len(_ADDRESS) else None

        return wait_for(found, timeout_s, "the demo's ports")

    def wait(self, timeout_s: float) -> DemoEnd:
        """Waits for its end."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._reader.join()
        stdout = b"".join(self._out).decode()
        last = stdout.rstrip("\n").rpartition("\n")[2]
        result = json.loads(last) if last.startswith("{") else {}
        return DemoEnd(code, stdout, self._stderr.read_text(), result)

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL; its children have to end by themselves."""
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            for line in pipe:
                self._out.append(line)


def run_client(*command: str, timeout_s: float = 30.0) -> str:
    """Runs an external client to its end and returns its standard output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout
