"""The gateway as a process: started from a file, asked over HTTP, ended by a signal."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from clampgateway.model import RECORD
from clampgateway.store import Store
from support.ports import wait_for

# As the design promises.
STOP_S = 5.0


class GatewayProcess:
    """`clampwork gateway run` in a folder of its own."""

    def __init__(self, folder: Path, toml: str = "", env: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.ports = folder / "ports"
        self.ports.mkdir(exist_ok=True)
        self.file = folder / "gateway.toml"
        serial = f'[[serial]]\nport = "{self.ports}/*"\n'
        self.file.write_text(f'[gateway]\nstate_dir = "state"\n[api]\nport = 0\n{toml}{serial}')
        self._log = folder / "log"
        self._env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            **(env or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> GatewayProcess:
        self.launch()
        wait_for(self._answers, 15, "the API")
        return self

    def launch(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "clamptools.cli", "gateway", "run", str(self.file)],
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self._env,
            )

    def fails(self) -> int:
        """Starts a gateway that is to end by itself; its exit code."""
        self.launch()
        assert self.process is not None
        code = self.process.wait(15)
        self.process = None
        return code

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        with contextlib.suppress(OSError, ValueError):
            return self.get("/healthz") is not None
        return False

    def log(self) -> str:
        return self._log.read_text()

    def get(self, path: str) -> dict[str, Any]:
        address = json.loads((self.state / "api.json").read_text())
        if self.process is not None and address["pid"] != self.process.pid:
            raise OSError("a file of the last start")
        connection = http.client.HTTPConnection("127.0.0.1", address["port"], timeout=5)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def device(self, name: str) -> dict[str, Any]:
        devices = {one["device"]: one for one in self.get("/api/v1/devices")["devices"]}
        return devices.get(name, {})

    def end(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = STOP_S) -> int:
        """Ends it by a signal; the exit code. Fails if that takes longer than it may."""
        assert self.process is not None
        self.process.send_signal(number)
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(
                f"{number.name} took more than {timeout_s} s:\n{self.log()}"
            ) from None
        self.process = None
        return code

    def release(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "clamptools.cli", "gateway", "release", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=30, check=False, env=self._env
        )

    def committed(self) -> set[tuple[str, int, int]]:
        """Names of all records in the store of a gateway that has ended; checks the file."""
        with contextlib.closing(sqlite3.connect(self.state / "store.db")) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        store = Store(self.state / "store.db")
        try:
            items = [stored.item for stored in store.read_after(0, 1_000_000)]
        finally:
            store.close()
        return {(item.device, item.boot, item.seq) for item in items if item.kind == RECORD}
