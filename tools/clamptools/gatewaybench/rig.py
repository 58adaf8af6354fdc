"""What the benchmark sets up: a broker, a gateway and a subscriber, each a process of its own.

Owns their configuration. The gateway is the real one, with the defaults of a user but for what
stands in `_toml`.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from clamptools.demo.brokers import as_ourselves, find_mosquitto
from clamptools.demo.processes import Child, free_ports, wait_listening
from clamptools.errors import UserError

HOST = "127.0.0.1"
ROOT = "bench"
START_S = 20.0
# As many unanswered as the gateway takes: on a busy machine an answer is long on its way.
WINDOW = 1000
_TOML = """
[gateway]
id = "bench"
site = "hall"
state_dir = "{state}"
[api]
port = {api}
[[tcp]]
port = {tcp}
[[serial]]
port = "{ports}/*"
[mqtt]
port = {mqtt}
root = "{root}"
window = {window}
"""
# Small writes of the broker would wait for our acknowledgements otherwise, up to 40 ms; it allows
# 20 messages in flight unless told. Nothing of the broker's goes to a disk.
_MOSQUITTO = """
listener {port} 127.0.0.1
allow_anonymous true
persistence false
set_tcp_nodelay true
max_queued_messages 0
max_inflight_messages {window}
log_type error
"""


class Rig:
    """A context: nothing runs before `start_...`, nothing after it.

    `window`: messages in flight to the broker. `profile`: a file for what the gateway's loop spent
    its time on; it costs about as much again.
    """

    def __init__(self, folder: Path, window: int = WINDOW, profile: Path | None = None) -> None:
        self._profile = profile
        mosquitto = find_mosquitto()
        if mosquitto is None:
            raise UserError("mosquitto is not installed: apt-get install mosquitto")
        self.folder = folder
        self.ports = folder / "ports"
        self.ports.mkdir()
        self.mqtt_port, self.tcp_port, self.api_port = free_ports(3)
        self._mosquitto = mosquitto
        self._broker: Child | None = None
        self._gateway: Child | None = None
        self._listener: subprocess.Popen[bytes] | None = None
        (folder / "mosquitto.conf").write_text(
            "\n".join([_MOSQUITTO.format(port=self.mqtt_port, window=window), *as_ourselves(), ""])
        )
        self._config = folder / "gateway.toml"
        self._config.write_text(
            _TOML.format(
                state=folder / "state", api=self.api_port, tcp=self.tcp_port, ports=self.ports,
                mqtt=self.mqtt_port, root=ROOT, window=window,
            )
        )  # fmt: skip

    def __enter__(self) -> Rig:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in (self._gateway, self._broker):
            if child is not None:
                child.stop()
        if self._listener is not None:
            self._listener.communicate(timeout=START_S)

    @property
    def gateway_pid(self) -> int:
        assert self._gateway is not None
        return self._gateway.pid

    def start_broker(self) -> None:
        """Raises ChildError if it does not come up."""
        self._broker = Child(
            "broker",
            [self._mosquitto, "-c", str(self.folder / "mosquitto.conf")],
            self.folder / "broker.log",
        )
        wait_listening(self._broker, self.mqtt_port, START_S)

    def stop_broker(self) -> None:
        if self._broker is not None:
            self._broker.stop()

    def start_gateway(self) -> None:
        """Raises ChildError if it does not come up."""
        program = ["clamptools.cli"]
        if self._profile is not None:
            program = ["clamptools.gatewaybench.profiled", str(self._profile)]
        run = [sys.executable, "-m", *program, "gateway", "run", str(self._config)]
        self._gateway = Child("gateway", run, self.folder / "gateway.log")
        wait_listening(self._gateway, self.tcp_port, START_S)
        wait_listening(self._gateway, self.api_port, START_S)

    def start_listener(self) -> None:
        self._listener = subprocess.Popen(
            [sys.executable, "-m", "clamptools.gatewaybench.listener", str(self.mqtt_port), ROOT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    async def heard(self) -> dict[str, Any]:
        """What the subscriber has counted so far; see `listener.Listener.counts`."""
        return await asyncio.to_thread(self._ask)

    def _ask(self) -> dict[str, Any]:
        listener = self._listener
        assert listener is not None
        assert listener.stdin is not None
        assert listener.stdout is not None
        listener.stdin.write(b"\n")
        listener.stdin.flush()
        return json.loads(listener.stdout.readline())

    def log_tail(self) -> str:
        """The last lines of the gateway's log."""
        return self._gateway.tail() if self._gateway is not None else ""
